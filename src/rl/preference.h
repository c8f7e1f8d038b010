// rl/preference.h: losses over responses that are compared: pairs (DPO, IPO, ORPO, SimPO, SimPER),
// a group with rewards (GROUPER), and single responses with a label (KTO).
//
// Each loss depends on a response through the sum of its log-probabilities alone, so a response is
// that sum, and all of its tokens have one derivative ("slope"). Lengths are the response's own
// tokens, the end token included. One pair, response or group member at a time; the caller
// averages. KTO does not compare two responses: it needs one number of the whole batch
// (kto_zero_point) first, and has a form of its own.
//
// Sources: GROUPER K-EXAONE 2601.01739 eqs 3-4; SimPER 2502.00883; DPO 2305.18290 eq 7; IPO
// 2310.12036 eq 17, with means over tokens for sums as TRL has it; KTO 2402.01306 eq 8; ORPO
// 2403.07691 eqs 4-6; SimPO 2405.14734 eq 6. docs/objectives.md. Not here: data
// (data/preference_data.h), a step (preference_step.h), reward-weighted log-probabilities
// (objectives.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/options.h"

namespace dure {

enum class PreferenceObjective { kGrouper, kSimper, kDpo, kIpo, kKto, kOrpo, kSimpo };
constexpr auto enum_names(PreferenceObjective) {
  return std::to_array<EnumName<PreferenceObjective>>({{PreferenceObjective::kGrouper, "grouper"},
                                                       {PreferenceObjective::kSimper, "simper"},
                                                       {PreferenceObjective::kDpo, "dpo"},
                                                       {PreferenceObjective::kIpo, "ipo"},
                                                       {PreferenceObjective::kKto, "kto"},
                                                       {PreferenceObjective::kOrpo, "orpo"},
                                                       {PreferenceObjective::kSimpo, "simpo"}});
}

// Whether it compares with the log-probabilities of the model that a run starts from.
bool needs_reference(PreferenceObjective objective);

struct PreferenceOptions {
  PreferenceObjective objective = PreferenceObjective::kDpo;
  double beta = 0.1;       // dpo, kto: pull towards the reference; ipo: tau; orpo: lambda; simpo.
  double simpo_gamma = 1;  // simpo: margin that the mean log-probabilities should have, times beta
  double desirable_weight = 1, undesirable_weight = 1;  // kto
  double rpo_alpha = 0;  // pairs: weight of the chosen response's mean -log p beside the loss

  explicit PreferenceOptions(PreferenceObjective chosen = PreferenceObjective::kDpo);
  // The defaults of the objective that `fields` name.
  void take_defaults(const Json& fields, const std::string& where);

  template <typename V>
  void visit(V& v) {
    v("objective", objective, "how responses are compared");
    v("beta", beta,
      "dpo, kto: strength of the pull towards the reference model; ipo: tau; orpo: weight of the "
      "odds ratio; simpo: scale of the mean log-probabilities (2 there, else 0.1)",
      above(0));
    v("simpo_gamma", simpo_gamma, "simpo: the margin that is asked for", at_least(0));
    v("desirable_weight", desirable_weight, "kto: weight of responses with label true",
      at_least(0));
    v("undesirable_weight", undesirable_weight, "kto: weight of responses with label false",
      at_least(0));
    v("rpo_alpha", rpo_alpha,
      "pairs: weight of the chosen response's mean negative log-likelihood (SFT) beside the loss; "
      "orpo has its own, of weight 1",
      at_least(0));
  }
};

// A response under the policy and, where the objective has one, the reference model.
struct ResponseLogProbability {
  double sum = 0;      // of its tokens' log-probabilities, natural
  int64_t tokens = 0;  // >= 1
  double reference_sum = 0;
  double mean() const { return sum / static_cast<double>(tokens); }
  double log_ratio() const { return sum - reference_sum; }
};

// `slope`: the derivative of the loss by the log-probability of each token of the response.
// `reward`: what the objective takes for the response's worth: beta (policy - reference) of sums
// (dpo, kto) or of means (ipo), beta mean log p (orpo, simpo), exp(mean log p) (simper, grouper).
struct ResponseLoss {
  double loss = 0, slope = 0, reward = 0;
};

// Rewards to [-1, 1] by min and max (standardising first changes nothing). Empty where all are
// equal as numbers, or where there is one: such a group is dropped.
std::vector<double> grouper_advantages(std::span<const double> rewards);

// One response of a GROUPER group of `group_size`: -(1/G) A exp(mean log p).
ResponseLoss grouper_loss(double advantage, int64_t group_size,
                          const ResponseLogProbability& response);

struct PairLoss {
  double loss = 0;      // the SFT term included
  double nll_loss = 0;  // the chosen response's mean -log p; 0 where it is no part of the loss
  double chosen_slope = 0, rejected_slope = 0;
  double chosen_reward = 0, rejected_reward = 0;
};

// c, r: chosen and rejected; sums s, means m, lengths n; "ratio" s - reference s.
//   dpo    -log sigmoid(beta (ratio_c - ratio_r))
//   ipo    (ratio_c / n_c - ratio_r / n_r - 1 / (2 beta))^2
//   orpo   -m_c - beta log sigmoid(log odds_c - log odds_r), odds = p / (1 - p), p = exp(m)
//   simpo  -log sigmoid(beta (m_c - m_r) - simpo_gamma)
//   simper exp(m_r) - exp(m_c)
// plus rpo_alpha (-m_c). Checked: not grouper or kto; tokens >= 1.
PairLoss pair_loss(const PreferenceOptions& options, const ResponseLogProbability& chosen,
                   const ResponseLogProbability& rejected);

// max(0, mean of `log_ratios`): those of responses to other prompts than they belong to, an
// estimate of KL(policy | reference) that no gradient flows through. 0 where there are none.
double kto_zero_point(std::span<const double> log_ratios);

// label true: desirable_weight (1 - sigmoid(beta ratio - beta z)); false: undesirable_weight
// (1 - sigmoid(beta z - beta ratio)). `zero_point`: z.
ResponseLoss kto_loss(const PreferenceOptions& options, bool label, double zero_point,
                      const ResponseLogProbability& response);

}  // namespace dure
