// Checks of convert.h, then the device's own bodies.
#include "kernels/convert.h"

#include "kernels/cpu/convert.h"
#include "kernels/dispatch.h"

namespace dure {

void widen(ConstTensorView in, TensorView out, Stream& stream) {
  DURE_CHECK_EQ(in.elements(), out.elements());
  dispatch(stream, [&](CpuStream& s) { cpu::widen(in, out, s); });
}

}  // namespace dure
