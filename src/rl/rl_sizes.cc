// Rows of an update hold at least one prompt with its answer; as many answers are decoded together
// as a step has, or as the configuration allows.
#include "rl/rl_sizes.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "rl/rl_step.h"

namespace dure {

namespace {

// The longest prompt of items that stay; those above `largest` are treated as configured.
int64_t longest_item(const RlConfig& config, const ChatTexts& texts, int64_t largest,
                     ItemPool& items) {
  int64_t longest = 1;
  int64_t too_long = 0;
  const RolloutOptions& rollout = config.rollout;
  items.keep(
      [&](const PoolItem& item) {
        if (items.has_environment(item)) return true;  // it says itself what is asked
        const int64_t tokens = std::ssize(item_prompt(item.item, texts, rollout.thinking));
        const bool fits = tokens <= largest;
        too_long += fits ? 0 : 1;
        if (!fits && rollout.long_prompts == TooLong::kRefuse) {
          fail(ErrorCode::kInvalidArgument,
               "items {}: item {}: a prompt of {} tokens, and {} are left for one; shorten "
               "rollout.new_tokens_max, raise rollout.context_tokens_max, or set "
               "rollout.long_prompts to drop or truncate",
               items.source_name(item.source), item.item.id, tokens, largest);
        }
        longest = std::max(longest, std::min(tokens, largest));
        return fits || rollout.long_prompts == TooLong::kTruncate;
      },
      fmt::format(": all prompts are longer than {} tokens", largest));
  if (too_long > 0) {
    log_warn(
        "items: {} prompts are longer than {} tokens: {}", too_long, largest,
        rollout.long_prompts == TooLong::kDrop ? "they are left out" : "only their ends are read");
  }
  return longest;
}

void make_room_for_episodes(int64_t tokens, const PromptRoom& largest, PromptRoom& room) {
  if (tokens > largest.context_tokens()) {
    fail(ErrorCode::kInvalidArgument,
         "environment: max_tokens is {}, and a conversation may have {}: lower it, or raise "
         "rollout.context_tokens_max within the model's context",
         tokens, largest.context_tokens());
  }
  room.prompt_tokens_max = std::max(room.prompt_tokens_max, tokens - room.new_tokens_max);
}

}  // namespace

std::unique_ptr<ItemPool> rl_items(const RlConfig& config) {
  if (config.items.empty()) return nullptr;
  return std::make_unique<ItemPool>(
      ItemPool::Options{.sources = config.items,
                        .verifier = config.verifier,
                        .environment = config.environment,
                        .tasks_weight = config.tasks_weight,
                        .heldout_one_in = config.heldout.one_in,
                        .prompts_per_step = config.rollout.prompts_per_step,
                        .seed = static_cast<uint64_t>(config.seed)});
}

PromptRoom rl_room(const RlConfig& config, const ChatTexts& texts, int64_t model_tokens) {
  const std::unique_ptr<ItemPool> items = rl_items(config);
  return rl_room(config, texts, model_tokens, items.get());
}

PromptRoom rl_room(const RlConfig& config, const ChatTexts& texts, int64_t model_tokens,
                   ItemPool* items) {
  const PromptRoom largest = largest_room({.context_tokens_max = config.rollout.context_tokens_max,
                                           .new_tokens_max = config.rollout.new_tokens_max,
                                           .model_tokens = model_tokens},
                                          "rollout");
  PromptRoom room{.prompt_tokens_max = 1, .new_tokens_max = largest.new_tokens_max};
  int64_t longest = 1;
  if (items != nullptr) longest = longest_item(config, texts, largest.prompt_tokens_max, *items);
  const PromptSource prompts{config.rollout, config.tasks, static_cast<uint64_t>(config.seed),
                             texts};
  if (items == nullptr || config.tasks_weight > 0)
    room = measure_room(prompts, {.begin = 0, .end = config.steps}, largest);
  room.prompt_tokens_max = std::max(room.prompt_tokens_max, longest);
  if (items != nullptr) make_room_for_episodes(items->episode_tokens_max(), largest, room);
  return room;
}

LearnerOptions rl_learner_options(const RlConfig& config, const PromptRoom& room) {
  LearnerOptions options =
      rl_learner_options(config.optimiser, std::max(config.micro_rows_max, room.context_tokens()));
  options.arithmetic = config.train.arithmetic;
  options.pass.adapter_rank = config.lora.rank;
  options.parts = config.parts;
  return options;
}

GeneratorOptions rl_generator_options(const RlConfig& config, const PromptRoom& room) {
  const int64_t together = std::min(config.rollout.sequences_max,
                                    config.rollout.prompts_per_step * config.rollout.group_size);
  return {.sequences_max = together,
          .context_tokens_max = room.context_tokens(),
          .batch_rows_max = std::max<int64_t>(512, together),
          .adapter_rank = config.lora.rank,
          .prefix = {.keep = config.rollout.share_prompts}};
}

ThreadShares rl_threads(const AsyncOptions& options, int thread_count) {
  const int64_t wanted =
      options.sampler_threads > 0 ? options.sampler_threads : int64_t{thread_count} / 2;
  const int sampler =
      static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max(1, thread_count - 1)));
  return {.trainer = std::max(1, thread_count - sampler), .sampler = sampler};
}

int64_t rl_answer_bytes(const RlConfig& config, const PromptRoom& room) {
  // A prompt's ids stand in the request and in the rollout; every token of both in a batch, with
  // its target.
  const int64_t prompt = room.prompt_tokens_max * (2 * 4 + 2 * 4);
  const int64_t answer = room.new_tokens_max * (4 + 4 + 2 * 4);
  return config.rollout.prompts_per_step * (1 + config.rollout.refill_rounds) *
         config.rollout.group_size * (prompt + answer);
}

}  // namespace dure
