// kernels/cpu/optimiser_simd.h: the element-wise parts of a weight update over one span, by the
// instruction set in use.
//
// The same bits on every instruction set, and wherever a tensor is cut into spans (sums of squares:
// see there).
#pragma once

#include <cstdint>

namespace dure::cpu {

struct AdamWScalars {  // The step's constants, folded in double and rounded once.
  float keep, beta1, one_minus_beta1, beta2, one_minus_beta2, rate, root_scale, epsilon,
      gradient_scale;
};

// w, g, m, v: [count].
void adamw_span(const AdamWScalars& s, float* w, const float* g, float* m, float* v, int64_t count);

struct MomentumScalars {
  float decay, gradient_scale, own, look_ahead;
};

// m = decay m + gradient_scale g; update = own g + look_ahead m. All [count].
void momentum_span(const MomentumScalars& s, const float* g, float* m, float* update,
                   int64_t count);

void scale_span(float factor, float* x, int64_t count);  // x *= factor

// w = keep w - rate update.
void move_span(float keep, float rate, const float* update, float* w, int64_t count);

// In double over eight fixed lanes, element i in lane i mod 8, folded pairwise.
double squares_span(const float* x, int64_t count);

}  // namespace dure::cpu
