// kernels/elementwise.h: SwiGLU: one output element from few inputs. Moving rows: rows.h.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

struct SwigluFacts {
  double limit = 0;   // > 0: g = min(gate, limit), u = clamp(up, -limit, limit); 0: as they are
  double alpha = 1;   // inside the sigmoid
  double offset = 0;  // added to u
};

// h = g * sigmoid(alpha g) * (u + offset): silu(g) * u by default. gate, up, h: [R, F]. h may be
// gate.
void swiglu(ConstTensorView gate, ConstTensorView up, const SwigluFacts& facts, TensorView h,
            Stream& stream);
// dgate, dup: [R, F] =. dgate may be gate's own memory, dup may be up's.
void swiglu_backward(ConstTensorView gate, ConstTensorView up, const SwigluFacts& facts,
                     ConstTensorView dh, TensorView dgate, TensorView dup, Stream& stream);

}  // namespace dure
