// rl/rollout.h: prompts of verifiable problems, G answers each from the engine, and their rewards.
//
// The engine reads the trainer's own parameters: there is no second copy of the weights. Everything
// about step s follows from (seed, s) and the weights, so an interrupted step is made again with
// the same bits instead of being saved half-done. Not here: advantages and losses (advantages.h,
// objectives.h), the update (rl_stage.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/options.h"
#include "chat/chat_texts.h"
#include "data/tasks/mixture.h"
#include "engine/generator.h"
#include "eval/grader.h"

namespace dure {

struct RolloutOptions {
  int64_t prompts_per_step = 16;
  int64_t group_size = 8;  // G answers to each prompt
  int64_t new_tokens_max = 128;
  int64_t sequences_max = 64;  // decoded together

  template <typename V>
  void visit(V& v) {
    v("prompts_per_step", prompts_per_step, "problems drawn for a step", between(1, 1 << 20));
    v("group_size", group_size, "answers sampled to each problem", between(2, 4096));
    v("new_tokens_max", new_tokens_max,
      "longest answer in tokens; a longer one is cut and counts as wrong", at_least(1));
    v("sequences_max", sequences_max, "answers decoded together", between(1, 65536));
  }
};

struct Rollout {
  int64_t group = 0;  // index of its problem in the step
  Problem problem;
  std::vector<int32_t> prompt;  // ids, the generation prompt included
  Generation generation;
  std::string reasoning, content;
  double reward = 0;  // 1: finished, reasoning closed, and verified exactly; else 0
};

// prompts_per_step * group_size rollouts of `step`, a problem's group together. Problems come from
// the train split. Throws kInvalidArgument where no token of `texts` ends an answer.
std::vector<Rollout> collect_rollouts(
    const RolloutOptions& options, const TaskMixture& tasks, uint64_t seed, int64_t step,
    const ChatTexts& texts, Generator& generator,
    const std::function<void(int64_t finished)>& on_progress = nullptr);

}  // namespace dure
