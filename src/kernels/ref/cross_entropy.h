// kernels/ref/cross_entropy.h: log-softmax at chosen tokens, its gradient and the entropy of the
// distribution, in double.
#pragma once

#include "kernels/cross_entropy.h"
#include "kernels/ref/doubles.h"

namespace dure::ref {

struct TokenLogProbability {
  Doubles log_probability, log_sum_exp, entropy;  // [R]
};
TokenLogProbability token_log_probability(DoubleSpan logits, std::span<const int32_t> targets);
// [R, V]: coefficient[r] * (onehot(target[r]) - softmax), 0 where ignored.
Doubles log_probability_backward(DoubleSpan logits, std::span<const int32_t> targets,
                                 DoubleSpan coefficient);

}  // namespace dure::ref
