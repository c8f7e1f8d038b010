// rl/objectives.h: the loss of one response's tokens and its derivative by each token's
// log-probability.
//
// One response at a time, given its advantage and scale from advantages.h: a micro-batch is any set
// of responses and the sum over all of them is the batch's loss. Weights (ratios where they only
// weigh) are detached: the derivative is that of the formula with them held fixed. Not here:
// preferences (preference.h), the model's backward (model/).
#pragma once

#include <cstdint>
#include <span>

#include "rl/advantages.h"

namespace dure {

// What a batch looked like; sums over tokens, to be divided by token_count. Added to, never reset,
// by response_loss.
struct ObjectiveStats {
  int64_t token_count = 0;
  // Tokens whose gradient the clip removed, or whose ratio was truncated.
  int64_t clipped_count = 0;
  double kl_sum = 0;        // k3 estimate of KL(sampler | policy): r - 1 - log r, at least 0.
  double mismatch_max = 0;  // Largest |logprob - sampler logprob|: 0 on policy, by promise 2.
};

// Returns scale * -sum_t term_t, and writes its derivative by each logprob to `grad`. All spans:
// [tokens of the response]. T is float or double; the arithmetic is in double. A response with
// scale 0 gives 0 and zeros. Terms (r = exp(logprob - sampler), A = advantage):
//   agapo, cispo: sg(min(r, ratio_max)) A logprob.        rloo: A logprob.
//   grpo, dr_grpo, dapo: min(r A, clip(r, 1 - clip_low, 1 + clip_high) A).
//   gspo: the same with s = exp(mean_t log r) in place of r, and d s / d logprob_t taken as s.
template <typename T>
double response_loss(const ObjectiveOptions& options, double advantage, double scale,
                     std::span<const T> logprobs, std::span<const T> sampler_logprobs,
                     std::span<T> grad, ObjectiveStats* stats = nullptr);

extern template double response_loss(const ObjectiveOptions&, double, double,
                                     std::span<const float>, std::span<const float>,
                                     std::span<float>, ObjectiveStats*);
extern template double response_loss(const ObjectiveOptions&, double, double,
                                     std::span<const double>, std::span<const double>,
                                     std::span<double>, ObjectiveStats*);

}  // namespace dure
