// The draw of random.h, then the device's own bodies.
#include "kernels/random.h"

#include "kernels/cpu/random.h"
#include "kernels/dispatch.h"

namespace dure {

void fill_normal(TensorView y, const NormalDraw& draw, Stream& stream) {
  dispatch(stream, [&](CpuStream& s) { cpu::fill_normal(y, draw, s); });
}

void fill_uniform(TensorView y, const UniformDraw& draw, Stream& stream) {
  dispatch(stream, [&](CpuStream& s) { cpu::fill_uniform(y, draw, s); });
}

}  // namespace dure
