// kernels/elementwise.h: SwiGLU: one output element from few inputs. Moving rows: rows.h.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

// h = silu(g) * u with g = min(gate, limit), u = clamp(up, -limit, limit) where limit > 0. gate,
// up, h: [R, F]. h may be gate.
void swiglu(ConstTensorView gate, ConstTensorView up, double limit, TensorView h, Stream& stream);
// dgate, dup: [R, F] =. dgate may be gate's own memory, dup may be up's.
void swiglu_backward(ConstTensorView gate, ConstTensorView up, double limit, ConstTensorView dh,
                     TensorView dgate, TensorView dup, Stream& stream);

}  // namespace dure
