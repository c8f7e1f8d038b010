// rl/rl_record.h: what is written down about a step of reinforcement learning: metrics of its
// rollouts, and a few answers in full.
//
// Owns FOLDER/samples.jsonl and the names of the metrics. Not here: metrics.jsonl (train/run.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "rl/rollout.h"

namespace dure {

struct RolloutStats {
  double reward_mean = 0, reward_std = 0;
  double token_count = 0, length_mean = 0;
  double cut_share = 0;                        // answers that reached the longest length
  std::vector<double> task_right, task_total;  // by task
};
RolloutStats rollout_stats(const std::vector<Rollout>& rollouts);

// "rewards/TASK/mean" of every task that was drawn.
void add_task_rewards(const RolloutStats& stats, Json& row);

// Of items: "rewards/SOURCE/mean"; "verifier/failures" and "verifier/failures/KIND", where a
// verifier failed; "dropped_answers", where any was.
void add_item_rewards(const std::vector<Rollout>& rollouts, const ItemPool& items, Json& row);
// "reward_parts/NAME/mean" of the parts that have a weight, "verifier_parts/NAME/mean" of those
// that graders tell.
void add_reward_parts(const std::vector<Rollout>& rollouts, Json& row);
// Of conversations with environments: "episodes/turns", "episodes/tokens" (means),
// "episodes/end/END" (counts); "environment/failures" and "environment/failures/KIND";
// "episodes/too_long", of which nothing could be asked.
void add_episodes(const std::vector<Rollout>& rollouts, Json& row);
// "eval_reward" and "eval_reward_SOURCE": the graders' mean scores, without other parts.
void add_heldout_rewards(const std::vector<Rollout>& answers, const ItemPool& items, Json& row);

// A few answers a step, spread over the groups: curves alone hide what a reward is given for.
class SampleLog {
 public:
  // Samples of steps after `step` go, as the metrics' rows do: each step stands there once.
  SampleLog(const Path& folder, int64_t step);
  // `count` of the rollouts of `step` (1, 2, ...). `weights_step`: which weights they are of, where
  // that is not those before the step.
  void write(int64_t step, const std::vector<Rollout>& rollouts, int64_t count,
             std::optional<int64_t> weights_step = {}) const;

 private:
  Path path_;
};

}  // namespace dure
