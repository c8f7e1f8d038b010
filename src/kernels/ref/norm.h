// kernels/ref/norm.h: RMSNorm and the QK-norm with rotary embedding in double.
//
// y = x / sqrt(mean(x^2) + epsilon) * w over rows of w.size() elements; then, where frequencies are
// given, pairs (j, j + H/2) turn by position * inverse_frequency[j]. The angle is the f32 product,
// as the reference model has it.
#pragma once

#include "kernels/ref/doubles.h"

namespace dure::ref {

struct NormGradients {
  Doubles dx;  // like x
  Doubles dw;  // like w
};

Doubles rms_norm(DoubleSpan x, DoubleSpan w, double epsilon);
NormGradients rms_norm_backward(DoubleSpan x, DoubleSpan w, double epsilon, DoubleSpan dy);

// x: [T, N, H] with T = positions.size() and H = w.size(). inverse_frequency: [H/2], or empty: no
// rotation.
Doubles head_norm_rope(DoubleSpan x, DoubleSpan w, double epsilon,
                       std::span<const float> inverse_frequency,
                       std::span<const int32_t> positions);
NormGradients head_norm_rope_backward(DoubleSpan x, DoubleSpan w, double epsilon,
                                      std::span<const float> inverse_frequency,
                                      std::span<const int32_t> positions, DoubleSpan dy);

// The rotation alone of heads of `width`, times `scale`; direction -1: its gradient.
Doubles head_rope(DoubleSpan x, int64_t width, std::span<const float> inverse_frequency,
                  double scale, std::span<const int32_t> positions, double direction = 1);

}  // namespace dure::ref
