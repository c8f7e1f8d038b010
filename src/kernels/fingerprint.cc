// Checks of fingerprint.h, then the device's own bodies.
#include "kernels/fingerprint.h"

#include "kernels/cpu/fingerprint.h"
#include "kernels/dispatch.h"

namespace dure {

void fingerprint(ConstTensorView tensor, uint64_t& hash, Stream& stream) {
  hash = dispatch(stream, [&](CpuStream&) {
    return cpu::fingerprint(static_cast<const char*>(tensor.data), tensor.bytes(), hash);
  });
}

void fingerprint(const WeightView& weight, int64_t matrix, uint64_t& hash, Stream& stream) {
  DURE_CHECK(matrix >= 0 && matrix < weight.stack(), "matrix {} of {}", matrix, weight.stack());
  hash = dispatch(stream, [&](CpuStream&) {
    return cpu::fingerprint(weight.part(matrix), weight.data.bytes() / weight.stack(), hash);
  });
}

}  // namespace dure
