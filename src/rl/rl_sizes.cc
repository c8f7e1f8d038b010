// Rows of an update hold at least one prompt with its answer; as many answers are decoded together
// as a step has, or as the configuration allows.
#include "rl/rl_sizes.h"

#include <algorithm>

#include "rl/rl_step.h"

namespace dure {

PromptRoom rl_room(const RlConfig& config, const ChatTexts& texts, int64_t model_tokens) {
  const PromptSource prompts{config.rollout, config.tasks, static_cast<uint64_t>(config.seed),
                             texts};
  return measure_room(prompts, {.begin = 0, .end = config.steps},
                      largest_room({.context_tokens_max = config.rollout.context_tokens_max,
                                    .new_tokens_max = config.rollout.new_tokens_max,
                                    .model_tokens = model_tokens},
                                   "rollout"));
}

LearnerOptions rl_learner_options(const RlConfig& config, const PromptRoom& room) {
  LearnerOptions options =
      rl_learner_options(config.optimiser, std::max(config.micro_rows_max, room.context_tokens()));
  options.arithmetic = config.train.arithmetic;
  return options;
}

GeneratorOptions rl_generator_options(const RlConfig& config, const PromptRoom& room) {
  const int64_t together = std::min(config.rollout.sequences_max,
                                    config.rollout.prompts_per_step * config.rollout.group_size);
  return {.sequences_max = together,
          .context_tokens_max = room.context_tokens(),
          .batch_rows_max = std::max<int64_t>(512, together),
          .prefix = {.keep = true}};
}

int64_t rl_answer_bytes(const RlConfig& config, const PromptRoom& room) {
  // A prompt's ids stand in the request and in the rollout; every token of both in a batch, with
  // its target.
  const int64_t prompt = room.prompt_tokens_max * (2 * 4 + 2 * 4);
  const int64_t answer = room.new_tokens_max * (4 + 4 + 2 * 4);
  return config.rollout.prompts_per_step * config.rollout.group_size * (prompt + answer);
}

}  // namespace dure
