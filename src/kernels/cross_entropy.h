// kernels/cross_entropy.h: log-probabilities of chosen tokens, and the gradient, from rows of
// logits.
//
// The caller makes logits for a chunk of rows at a time, so that a whole [T, V] never stands in
// memory. One function gives the trainer's loss and the sampler's log-probability: log p =
// logits[target] - log_sum_exp; the maximum exact, the sum over the vocabulary in f32, in 16 lanes
// over v ascending within stretches of 1024, stretches ascending, then a fixed tree. Rows are
// independent of each other; the same bits on every instruction set. A logit of -infinity is a
// forbidden token.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

inline constexpr int32_t kIgnore = -100;  // A target that counts for nothing.

// logits: [R, V]. targets: [R] i32 (kIgnore: log_probability 0). log_probability, log_sum_exp: [R]
// =. entropy: [R] = or empty.
void token_log_probability(ConstTensorView logits, ConstTensorView targets,
                           TensorView log_probability, TensorView log_sum_exp, TensorView entropy,
                           Stream& stream);
// In place: logits: [R, V] <- coefficient[r] * (onehot(target) - softmax), the gradient of sum_r
// coefficient[r] * log p_r. Ignored rows become 0. For a mean loss, coefficient = -1 / (number of
// valid targets). coefficient: [R] f32.
void log_probability_backward(TensorView logits, ConstTensorView targets,
                              ConstTensorView log_sum_exp, ConstTensorView coefficient,
                              Stream& stream);

}  // namespace dure
