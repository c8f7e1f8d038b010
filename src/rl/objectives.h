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

// How far the policy is from a reference, from a token's log-probabilities under both: with
// d = log p - log p_ref,
//   k1: d, whose mean is the divergence KL(policy | reference), and whose gradient by itself has
//       mean 0 on policy: it weighs as a number, and pulls at nothing.
//   k2: d^2 / 2, biased; its gradient's mean is that of the divergence on policy.
//   k3: exp(-d) - 1 + d, unbiased and at least 0; its gradient's mean is that of KL(reference |
//       policy). GRPO's (2402.03300, equation 4).
// Source: J. Schulman, "Approximating KL divergence", 2020.
enum class KlEstimator : uint8_t { kK1, kK2, kK3 };
constexpr auto enum_names(KlEstimator) {
  return std::to_array<EnumName<KlEstimator>>(
      {{KlEstimator::kK1, "k1"}, {KlEstimator::kK2, "k2"}, {KlEstimator::kK3, "k3"}});
}

struct KlOptions {
  double beta = 0;
  KlEstimator estimator = KlEstimator::kK3;
  bool operator==(const KlOptions&) const = default;
  template <typename V>
  void visit(V& v) {
    v("beta", beta,
      "weight in the loss of the divergence from the model that the run began with (0: none, and "
      "no "
      "such model in memory)",
      at_least(0));
    v("estimator", estimator, "of a token: k1, k2 or k3");
  }
};

struct KlTerm {
  double value = 0, derivative = 0;  // by the policy's log-probability
};
KlTerm kl_term(KlEstimator estimator, double log_probability, double reference);

// Returns scale * beta * sum_t of a response, and adds its derivative to `grad`. `value_sum`: the
// estimates' own sum is added, whatever the scale.
template <typename T>
double kl_loss(const KlOptions& options, double scale, std::span<const T> logprobs,
               std::span<const T> reference, std::span<T> grad, double& value_sum);
extern template double kl_loss(const KlOptions&, double, std::span<const float>,
                               std::span<const float>, std::span<float>, double&);
extern template double kl_loss(const KlOptions&, double, std::span<const double>,
                               std::span<const double>, std::span<double>, double&);

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
