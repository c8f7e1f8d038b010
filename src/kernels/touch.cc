// Checks of touch.h, then the device's own bodies.
#include "kernels/touch.h"

#include "kernels/cpu/touch.h"
#include "kernels/dispatch.h"

namespace dure {

void touch_matrix(const WeightView& weight, int64_t matrix, Stream& stream) {
  DURE_CHECK(matrix >= 0 && matrix < weight.stack(), "matrix {} of {}", matrix, weight.stack());
  dispatch(stream, [&](CpuStream& s) {
    cpu::touch(weight.part(matrix), weight.data.bytes() / weight.stack(), s);
  });
}

}  // namespace dure
