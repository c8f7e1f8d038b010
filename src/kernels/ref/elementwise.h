// kernels/ref/elementwise.h: embedding rows and SwiGLU in double.
//
// h = silu(g) u, silu(z) = z / (1 + exp(-z)); where limit > 0: g = min(gate, limit), u = clamp(up,
// -limit, limit) before it.
#pragma once

#include "kernels/ref/doubles.h"

namespace dure::ref {

Doubles embedding(DoubleSpan table, int64_t width, std::span<const int32_t> ids);
Doubles embedding_backward(int64_t vocabulary, std::span<const int32_t> ids, DoubleSpan dy);

Doubles swiglu(DoubleSpan gate, DoubleSpan up, double limit);
struct SwigluGradients {
  Doubles dgate, dup;
};
SwigluGradients swiglu_backward(DoubleSpan gate, DoubleSpan up, double limit, DoubleSpan dh);

}  // namespace dure::ref
