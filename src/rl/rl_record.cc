// Statistics of rollouts, and samples.jsonl.
#include "rl/rl_record.h"

#include <algorithm>
#include <cmath>

#include "eval/grader.h"
#include "rl/response_batches.h"
#include "train/metrics.h"

namespace dure {
namespace {

Json sample_of(const Rollout& r, int64_t step) {
  Json sample = Json::object();
  sample["step"] = step;
  sample["task"] = task_name(r.problem.task);
  sample["language"] = r.problem.language;
  if (!r.earlier.empty()) sample["earlier"] = earlier_json(r.earlier);
  sample["prompt"] = r.problem.prompt;
  sample["thinking"] = r.reasoning;
  sample["content"] = r.content;
  sample["expected"] = r.problem.answer;
  sample["reward"] = r.reward;
  return sample;
}

}  // namespace

RolloutStats rollout_stats(const std::vector<Rollout>& rollouts) {
  RolloutStats out;
  out.task_right.resize(kTaskCount);
  out.task_total.resize(kTaskCount);
  double reward = 0;
  double squares = 0;
  double cut = 0;
  for (const Rollout& r : rollouts) {
    const size_t task = static_cast<size_t>(r.problem.task);
    reward += r.reward;
    squares += r.reward * r.reward;
    out.token_count += static_cast<double>(answer_length(r));
    cut += r.generation.finish == FinishReason::kLength ? 1 : 0;
    out.task_right[task] += r.reward;
    out.task_total[task] += 1;
  }
  const double n = static_cast<double>(rollouts.size());
  out.reward_mean = reward / n;
  out.reward_std = std::sqrt(std::max(0.0, squares / n - out.reward_mean * out.reward_mean));
  out.length_mean = out.token_count / n;
  out.cut_share = cut / n;
  return out;
}

void add_task_rewards(const RolloutStats& stats, Json& row) {
  for (int t = 0; t < kTaskCount; ++t) {
    const size_t task = static_cast<size_t>(t);
    if (stats.task_total[task] > 0)
      row[fmt::format("rewards/{}/mean", task_name(static_cast<Task>(t)))] =
          stats.task_right[task] / stats.task_total[task];
  }
}

SampleLog::SampleLog(const Path& folder, int64_t step) : path_(folder / "samples.jsonl") {
  if (!path_exists(path_)) return;
  std::string kept;
  for (const Json& row : read_metrics(path_)) {
    if (row.at("step").as_int("step") <= step) kept += row.dump() + "\n";
  }
  write_file(path_, kept);
}

void SampleLog::write(int64_t step, const std::vector<Rollout>& rollouts, int64_t count) const {
  std::string lines;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = std::ssize(rollouts) * i / count;
    lines += sample_of(rollouts[static_cast<size_t>(index)], step).dump() + "\n";
  }
  if (!lines.empty()) append_file(path_, lines);
}

}  // namespace dure
