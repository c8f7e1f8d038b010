// Checks of fingerprint.h, then the device's own bodies.
#include "kernels/fingerprint.h"

#include "kernels/cpu/fingerprint.h"
#include "kernels/dispatch.h"

namespace dure {

uint64_t fingerprint(ConstTensorView tensor, uint64_t seed, Stream& stream) {
  return dispatch(stream, [&](CpuStream&) {
    return cpu::fingerprint(static_cast<const char*>(tensor.data), tensor.bytes(), seed);
  });
}

uint64_t fingerprint(const WeightView& weight, int64_t matrix, uint64_t seed, Stream& stream) {
  DURE_CHECK(matrix >= 0 && matrix < weight.stack(), "matrix {} of {}", matrix, weight.stack());
  return dispatch(stream, [&](CpuStream&) {
    return cpu::fingerprint(weight.part(matrix), weight.data.bytes() / weight.stack(), seed);
  });
}

}  // namespace dure
