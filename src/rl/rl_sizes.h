// rl/rl_sizes.h: what an RL run's configuration asks of the learner and of the engine that samples
// from it.
//
// One place for the run that allocates them (rl_stage.h) and for `dure plan`. Not here: how many
// bytes they take (train/learner.h, engine/generator.h, cli/memory_plan.h).
#pragma once

#include "rl/rl_trainer.h"
#include "train/learner.h"

namespace dure {

// The room of all the run's prompts and their answers. Throws and warns as measure_room() does.
// Reads the files of items where the configuration names any.
PromptRoom rl_room(const RlConfig& config, const ChatTexts& texts, int64_t model_tokens);
// `items`: null where there are none; what is too long leaves it, or is refused.
PromptRoom rl_room(const RlConfig& config, const ChatTexts& texts, int64_t model_tokens,
                   ItemPool* items);
// Null where the configuration names none.
std::unique_ptr<ItemPool> rl_items(const RlConfig& config);

LearnerOptions rl_learner_options(const RlConfig& config, const PromptRoom& room);
GeneratorOptions rl_generator_options(const RlConfig& config, const PromptRoom& room);

// How a run that samples while it learns shares the threads out: the trainer has the rest.
struct ThreadShares {
  int trainer = 1, sampler = 1;
};
ThreadShares rl_threads(const AsyncOptions& options, int thread_count);

// Of one step, at most: prompts, answers, the log-probabilities they were drawn with, and the
// batches that are learnt from.
int64_t rl_answer_bytes(const RlConfig& config, const PromptRoom& room);

}  // namespace dure
