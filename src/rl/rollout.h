// rl/rollout.h: prompts of verifiable problems and of one's own items, G answers each from the
// engine, and their rewards.
//
// The engine reads the trainer's own parameters: there is no second copy of the weights. Everything
// about step s follows from (seed, s) and the weights, so an interrupted step is made again with
// the same bits instead of being saved half-done. Not here: conversations with an environment
// (episode_player.h), advantages and losses (advantages.h, objectives.h), the update (rl_step.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "chat/conversation.h"
#include "comm/group.h"
#include "data/tasks/mixture.h"
#include "engine/generator.h"
#include "eval/grader.h"
#include "eval/prompt_room.h"
#include "rl/item_pool.h"
#include "rl/reward.h"

namespace dure {

struct RolloutOptions {
  int64_t prompts_per_step = 16;
  int64_t group_size = 8;  // G answers to each prompt
  int64_t new_tokens_max = 128;
  int64_t sequences_max = 64;  // decoded together
  int64_t context_tokens_max = 0;
  TooLong long_prompts = TooLong::kDrop;
  Thinking thinking = Thinking::kOn;
  double temperature = 1, top_p = 1;
  int64_t refill_rounds = 0;
  bool share_prompts = true;

  template <typename V>
  void visit(V& v) {
    v("prompts_per_step", prompts_per_step, "problems drawn for a step", between(1, 1 << 20));
    v("group_size", group_size, "answers sampled to each problem", between(2, 4096));
    v("new_tokens_max", new_tokens_max,
      "longest answer in tokens; a longer one is cut and counts as wrong", at_least(1));
    v("sequences_max", sequences_max, "answers decoded together", between(1, 65536));
    v("context_tokens_max", context_tokens_max,
      "tokens of a prompt and its answer (0: as many as the run's prompts need, within the model's "
      "own context)",
      at_least(0));
    v("long_prompts", long_prompts,
      "a prompt that leaves no room for an answer: draw another problem, keep its last tokens, or "
      "refuse the run at its start");
    v("thinking", thinking, "answers with reasoning first (on), or at once (off)");
    v("temperature", temperature,
      "of sampling; what is learnt from are the model's own probabilities whatever it is",
      between(0.01, 10));
    v("top_p", top_p, "share of the probability that is drawn from", between(0.01, 1));
    v("refill_rounds", refill_rounds,
      "times that further prompts are drawn in a step, for those whose answers all earned the same",
      between(0, 100));
    v("share_prompts", share_prompts,
      "read a prompt once for all its answers (false: once for each, the same answers)");
  }
};

// What a conversation with an environment was.
struct PlayedEpisode {
  // Of Rollout::generation.tokens, which begin behind the first prompt: an answer each. What stands
  // between them the environment said; it has log-probability 0 there, and is never learnt from.
  struct Span {
    int64_t begin = 0, count = 0;
  };
  std::vector<Span> answers;
  std::vector<Message> messages;  // all of them
  EpisodeEnd end = EpisodeEnd::kDone;
  bool reasoning_closed = true;  // of every answer
  bool too_long = false;         // its beginning left no room: nothing was answered
};

struct Rollout {
  int64_t group = 0;     // index of its problem in the step
  Problem problem = {};  // the last question, the one that is answered; empty where `item` is given
  std::vector<Problem> earlier = {};
  const PoolItem* item = nullptr;    // one's own
  std::vector<int32_t> prompt = {};  // ids, the generation prompt included
  Generation generation;
  std::string reasoning, content;
  double reward = 0;  // as RewardOptions weigh its parts
  double score = 0;   // the grader's; problems: 1 where finished, closed, verified exactly; else 0
  bool dropped = false;  // it has no reward, and leaves the loss and every statistic
  Json parts = {};       // of the reward; null where it is the score alone
  Grade grade = {};      // of an item
  std::optional<PlayedEpisode> episode = {};  // of an item with an environment
};

// Tokens that the model drew.
int64_t answer_length(const Rollout& r);

struct RolloutPrompt {
  Dialogue dialogue;
  const PoolItem* item = nullptr;
  std::vector<int32_t> ids;
  int64_t too_long = 0;  // prompts that were dropped or cut for it: 0 mostly
};

// The prompts of a run, each a function of (seed, step, group) and the room.
struct PromptSource {
  const RolloutOptions& options;
  const TaskMixture& tasks;
  uint64_t seed = 0;
  const ChatTexts& texts;
  const ItemPool* items = nullptr;  // with its graders where answers are collected
  const RewardOptions& reward = kPlainReward;
  inline static const RewardOptions kPlainReward{};

  // From the train split, of 1 to tasks.turns_max questions. One longer than `prompt_tokens_max` is
  // treated as options.long_prompts says. Throws kInvalidArgument where it may not be, or where
  // 1,000 problems in turn are too long. Of an item with an environment the ids are empty: it says
  // itself what its episodes begin with. Groups beyond prompts_per_step are those of refills.
  RolloutPrompt prompt(int64_t step, int64_t group, int64_t prompt_tokens_max) const;
};

// How every answer of the run is drawn.
SamplingOptions rollout_sampling(const PromptSource& source);

// The room that the steps begin .. end-1 need: as long as their longest prompt, at most `largest`.
// Logs how many prompts are too long. Throws as prompt() does. Looks at the first 65,536 prompts
// (where they are refused, at all): a later one that is longer still is treated as too long.
struct StepRange {
  int64_t begin = 0, end = 0;
};
PromptRoom measure_room(const PromptSource& source, StepRange steps, const PromptRoom& largest);

// The prompt of an item, as long as it is.
std::vector<int32_t> item_prompt(const Item& item, const ChatTexts& texts, Thinking thinking);

// One answer to each of `items`, `copies` times, a group an item; drawn from `stream` by place.
struct ItemQuestions {
  std::vector<const PoolItem*> items;
  int64_t copies = 1;
  const char* stream = "";
  uint64_t stream_step = 0;
};
std::vector<Rollout> answer_items(const PromptSource& source, const ItemQuestions& questions,
                                  const PromptRoom& room, Generator& generator,
                                  Group& ranks = Group::alone());

// Groups of one step; their numbers say what is drawn.
struct GroupRange {
  int64_t begin = 0, end = 0;
};

// What a step asks: group_size rollouts of each group, without an answer. Throws as prompt() does.
std::vector<Rollout> asked_rollouts(const PromptSource& source, int64_t step, GroupRange groups,
                                    const PromptRoom& room);

// group_size rollouts of each group of `step`, a group's together. Throws kInvalidArgument where no
// token of `texts` ends an answer, and as prompt() does. Over `ranks` each samples and grades some
// of the groups, and all get all (rollout_exchange.h).
std::vector<Rollout> collect_rollouts(
    const PromptSource& source, int64_t step, GroupRange groups, const PromptRoom& room,
    Generator& generator, const std::function<void(int64_t finished)>& on_progress = nullptr,
    Group& ranks = Group::alone());
// Of all prompts_per_step groups.
std::vector<Rollout> collect_rollouts(
    const PromptSource& source, int64_t step, const PromptRoom& room, Generator& generator,
    const std::function<void(int64_t finished)>& on_progress = nullptr,
    Group& ranks = Group::alone());

}  // namespace dure
