// kernels/ref/elementwise.h: SwiGLU in double.
//
// h = silu(g) u, silu(z) = z / (1 + exp(-z)); where limit > 0: g = min(gate, limit), u = clamp(up,
// -limit, limit) before it.
#pragma once

#include "kernels/ref/doubles.h"

namespace dure::ref {

Doubles swiglu(DoubleSpan gate, DoubleSpan up, double limit);
struct SwigluGradients {
  Doubles dgate, dup;
};
SwigluGradients swiglu_backward(DoubleSpan gate, DoubleSpan up, double limit, DoubleSpan dh);

}  // namespace dure::ref
