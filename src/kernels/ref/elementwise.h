// kernels/ref/elementwise.h: SwiGLU in double.
//
// h = g sigmoid(alpha g) (u + offset); where limit > 0: g = min(gate, limit), u = clamp(up, -limit,
// limit) before it. Source of alpha and offset: transformers, gpt_oss (GptOssExperts).
#pragma once

#include "kernels/elementwise.h"
#include "kernels/ref/doubles.h"

namespace dure::ref {

Doubles swiglu(DoubleSpan gate, DoubleSpan up, const SwigluFacts& facts);
struct SwigluGradients {
  Doubles dgate, dup;
};
SwigluGradients swiglu_backward(DoubleSpan gate, DoubleSpan up, const SwigluFacts& facts,
                                DoubleSpan dh);

}  // namespace dure::ref
