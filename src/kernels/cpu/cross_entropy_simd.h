// kernels/cpu/cross_entropy_simd.h: one row of logits. Contract: kernels/cross_entropy.h.
#pragma once

#include <cstdint>

namespace dure::cpu {

struct LogSumExp {
  float log_sum_exp = 0;
  float entropy = 0;  // 0 where not asked for
};
LogSumExp log_sum_exp_row(const float* logits, int64_t count, bool with_entropy);
// logits[v] <- -coefficient * exp(logits[v] - log_sum_exp)
void softmax_gradient_row(float* logits, int64_t count, float log_sum_exp, float coefficient);

}  // namespace dure::cpu
