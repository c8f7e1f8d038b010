// rl/reward.h: what an answer earns in the end: what the grader says, and parts for its form, with
// weights.
//
// Pure numbers and text. With the defaults the reward is the grader's score itself. Not here:
// graders (grade/), advantages (advantages.h).
//
// Source of `overlong`: Yu et al., DAPO, 2503.14476, equation 13: 0 up to L_max - L_cache, then
// falling linearly to -1 at L_max; L_max is rollout.new_tokens_max. `mask_cut` is its overlong
// filtering: answers cut by their length leave the loss and every statistic.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "base/options.h"

namespace dure {

struct RewardOptions {
  double correct = 1, format = 0, length = 0, language = 0, overlong = 0;
  int64_t overlong_cache_tokens = 0;  // L_cache; 0: a fifth of L_max
  bool mask_cut = false;
  bool operator==(const RewardOptions&) const = default;
  template <typename V>
  void visit(V& v) {
    v("correct", correct, "weight of what the grader says");
    v("format", format,
      "weight of form: 1 where the answer ended, with its reasoning closed and "
      "no unread call in it");
    v("length", length, "weight of the share of new_tokens_max that was not used");
    v("language", language,
      "weight of language: 1 where the answer is in the item's field language, else in the "
      "prompt's");
    v("overlong", overlong, "weight of DAPO's penalty of long answers, from 0 to -1");
    v("overlong_cache_tokens", overlong_cache_tokens,
      "tokens before new_tokens_max over which that penalty falls (0: a fifth)", at_least(0));
    v("mask_cut", mask_cut, "leave answers out that were cut by their length");
  }
};

// What parts are made of.
struct AnswerFacts {
  double score = 0;  // the grader's
  bool finished = false, reasoning_closed = false;
  int64_t tokens = 0, tokens_max = 0;
  const std::string& content;
  const std::string& language;  // that it should be in; empty: unknown, the part is 1
};

struct Reward {
  double value = 0;
  Json parts;  // of the parts with a weight, before it; null where only `correct` has one
};
Reward reward_of(const RewardOptions& options, const AnswerFacts& facts);

// In [-1, 0]. For tests.
double overlong_penalty(int64_t tokens, int64_t tokens_max, int64_t cache_tokens);

}  // namespace dure
