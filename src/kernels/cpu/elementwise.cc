// SwiGLU over all elements as one long row, cut at multiples of 16.
#include "kernels/cpu/elementwise.h"

#include "kernels/cpu/elementwise_simd.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
void swiglu(ConstTensorView gate, ConstTensorView up, const SwigluFacts& facts, TensorView h,
            CpuStream& stream) {
  const Swiglu rows{.gate = gate.f32(),
                    .up = up.f32(),
                    .limit = static_cast<float>(facts.limit),
                    .alpha = static_cast<float>(facts.alpha),
                    .offset = static_cast<float>(facts.offset),
                    .h = h.f32()};
  parallel_elements(stream, gate.elements(),
                    [&](int64_t first, int64_t last) { swiglu_range(rows, first, last); });
}

void swiglu_backward(ConstTensorView gate, ConstTensorView up, const SwigluFacts& facts,
                     ConstTensorView dh, TensorView dgate, TensorView dup, CpuStream& stream) {
  const Swiglu rows{.gate = gate.f32(),
                    .up = up.f32(),
                    .limit = static_cast<float>(facts.limit),
                    .alpha = static_cast<float>(facts.alpha),
                    .offset = static_cast<float>(facts.offset),
                    .dh = dh.f32(),
                    .dgate = dgate.f32(),
                    .dup = dup.f32()};
  parallel_elements(stream, gate.elements(),
                    [&](int64_t first, int64_t last) { swiglu_backward_range(rows, first, last); });
}

}  // namespace dure::cpu
