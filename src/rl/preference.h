// rl/preference.h: losses over responses that are compared: GROUPER (a group with rewards), SimPER
// and DPO (a pair).
//
// One group or pair at a time; the caller averages over them through `scale`. Lengths are the
// response's own tokens, the end token included. Not here: rewards (eval/), reward-weighted
// log-probabilities (objectives.h). Sources: GROUPER K-EXAONE 2601.01739 eqs 3-4; SimPER
// 2502.00883; DPO 2305.18290. docs/objectives.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/options.h"

namespace dure {

enum class PreferenceObjective { kGrouper, kSimper, kDpo };
constexpr auto enum_names(PreferenceObjective) {
  return std::to_array<EnumName<PreferenceObjective>>({{PreferenceObjective::kGrouper, "grouper"},
                                                       {PreferenceObjective::kSimper, "simper"},
                                                       {PreferenceObjective::kDpo, "dpo"}});
}

struct PreferenceOptions {
  PreferenceObjective objective = PreferenceObjective::kGrouper;
  double beta = 0.1;  // dpo: strength of the pull towards the reference.
  template <typename V>
  void visit(V& v) {
    v("objective", objective, "how responses are compared");
    v("beta", beta, "dpo: strength of the pull towards the reference model", above(0));
  }
};

// Rewards to [-1, 1] by min and max (standardising first changes nothing). Empty where all are
// equal as numbers, or where there is one: such a group is dropped.
std::vector<double> grouper_advantages(std::span<const double> rewards);

// One response of a GROUPER group of `group_size`: scale * -(1/G) A exp(mean_t logprob). Writes the
// derivative by each logprob to `grad`.
template <typename T>
double grouper_loss(double advantage, int64_t group_size, double scale, std::span<const T> logprobs,
                    std::span<T> grad);

// scale * (exp(mean rejected) - exp(mean chosen)).
template <typename T>
double simper_loss(double scale, std::span<const T> chosen, std::span<const T> rejected,
                   std::span<T> grad_chosen, std::span<T> grad_rejected);

struct DpoResult {
  double loss = 0;
  double chosen_reward = 0,
         rejected_reward = 0;  // beta * (policy - reference), summed over tokens.
};

// scale * -log sigmoid(beta ((chosen - reference chosen) - (rejected - reference rejected))), sums
// over tokens.
template <typename T>
DpoResult dpo_loss(double beta, double scale, std::span<const T> chosen,
                   std::span<const T> rejected, std::span<const T> reference_chosen,
                   std::span<const T> reference_rejected, std::span<T> grad_chosen,
                   std::span<T> grad_rejected);

}  // namespace dure
