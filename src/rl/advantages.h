// rl/advantages.h: from rewards to advantages: which responses count, how much each is worth, how
// its tokens are scaled.
//
// Pure numbers over a whole batch of responses; computed once per batch, before it is split into
// micro-batches, so that the split cannot change a statistic. Not here: the loss of a response's
// tokens (objectives.h). Definitions: docs/objectives.md; they follow training-time papers where
// these are exact, and say what is fixed here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/options.h"

namespace dure {

enum class Objective { kAgapo, kRloo, kGrpo, kDrGrpo, kDapo, kGspo, kCispo };
constexpr auto enum_names(Objective) {
  return std::to_array<EnumName<Objective>>({{Objective::kAgapo, "agapo"},
                                             {Objective::kRloo, "rloo"},
                                             {Objective::kGrpo, "grpo"},
                                             {Objective::kDrGrpo, "dr_grpo"},
                                             {Objective::kDapo, "dapo"},
                                             {Objective::kGspo, "gspo"},
                                             {Objective::kCispo, "cispo"}});
}

enum class Deviation { kSample, kPopulation };  // Squares over n - 1, or over n.
constexpr auto enum_names(Deviation) {
  return std::to_array<EnumName<Deviation>>(
      {{Deviation::kSample, "sample"}, {Deviation::kPopulation, "population"}});
}

// One objective and its numbers. `objective: NAME` alone is a whole configuration: the other fields
// take NAME's defaults unless they are given too.
struct ObjectiveOptions {
  Objective objective = Objective::kAgapo;
  double epsilon = 1e-6;                     // Added to a standard deviation.
  Deviation deviation = Deviation::kSample;  // agapo: over n - 1 or n.
  // Groups of equal rewards leave before every statistic and count.
  bool drop_zero_variance = true;
  double ratio_max = 2.0;          // agapo, cispo: upper truncation of the (detached) ratio.
  double clip_low = 0.2;           // grpo, dr_grpo, dapo, gspo: ratio kept from 1 - clip_low ...
  double clip_high = 0.2;          // ... to 1 + clip_high.
  int64_t length_constant = 1024;  // dr_grpo: the constant that replaces a response's own length.

  explicit ObjectiveOptions(Objective chosen = Objective::kAgapo);
  // All of another objective's defaults where `fields` name another one than this.
  void take_defaults(const Json& fields, const std::string& where);

  template <typename V>
  void visit(V& v) {
    v("objective", objective, "what is maximised");
    v("epsilon", epsilon, "added to a standard deviation", at_least(0));
    v("std", deviation, "agapo: deviation of a sample (n - 1) or of a population (n)");
    v("drop_zero_variance", drop_zero_variance, "leave out groups whose rewards are all equal");
    v("ratio_max", ratio_max, "agapo, cispo: upper truncation of the importance ratio", above(0));
    v("clip_low", clip_low, "ratio clip below 1", between(0, 1));
    v("clip_high", clip_high, "ratio clip above 1", at_least(0));
    v("length_constant", length_constant, "dr_grpo: tokens that a response is divided by",
      at_least(1));
  }
};

// Everything about a batch of R responses that does not depend on the current policy.
struct ResponseWeights {
  std::vector<uint8_t> live;  // [R] 0: dropped, contributes nothing and is not counted.
  // [R] 0 for a dropped one, and for every response of a dead group.
  std::vector<double> advantages;
  std::vector<double> scales;  // [R] S_i; 0 for a dropped response and for one without tokens.
  int64_t group_count = 0, live_group_count = 0, live_response_count = 0, live_token_count = 0;
  int64_t dead_group_count = 0;  // Groups of equal rewards (and of one response), dropped or not.
};

// groups: [R] any ids; rows of one id form a group, in any order. rewards: [R], finite.
// token_counts: [R]. A group is dead when its rewards are all equal as numbers, or when it has one
// response. Checked: equal lengths, finite rewards, counts >= 0.
ResponseWeights weigh_responses(const ObjectiveOptions& options, std::span<const int64_t> groups,
                                std::span<const double> rewards,
                                std::span<const int64_t> token_counts);

}  // namespace dure
