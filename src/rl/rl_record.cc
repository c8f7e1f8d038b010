// Statistics of rollouts, and samples.jsonl.
#include "rl/rl_record.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "data/inspect.h"
#include "eval/grader.h"
#include "rl/response_batches.h"
#include "train/metrics.h"

namespace dure {
namespace {

constexpr size_t kShownBytesMax = 4096;  // of a message: environments may say megabytes

// What was asked last, as a person reads it.
std::string question_of(const Item& item) {
  for (auto message = item.messages.rbegin(); message != item.messages.rend(); ++message)
    if (message->role == Role::kUser) return message->content;
  return item.messages.empty() ? "" : item.messages.back().content;
}

void add_episode(const PlayedEpisode& episode, Json& sample) {
  std::vector<Message> messages = episode.messages;
  for (Message& message : messages) message.content = shortened(message.content, kShownBytesMax);
  sample["messages"] = messages_to_json(messages);
  sample["turns"] = std::ssize(episode.answers);
  sample["end"] = name_of(episode.end);
}

Json sample_of_item(const Rollout& r, int64_t step) {
  const Item& item = r.item->item;
  Json sample = Json::object();
  sample["step"] = step;
  sample["task"] = item.group;
  sample["item"] = item.id;
  sample["prompt"] = question_of(item);
  if (item.messages.size() > 1) sample["messages"] = messages_to_json(item.messages);
  if (r.episode) add_episode(*r.episode, sample);
  sample["thinking"] = r.reasoning;
  sample["content"] = r.content;
  if (!item.reference.is_null())
    sample["expected"] = item.reference.is_string() ? item.reference : Json(item.reference.dump());
  sample["reward"] = r.reward;
  if (!r.grade.reason.empty()) sample["reason"] = r.grade.reason;
  if (!r.grade.failure.empty()) sample["failure"] = r.grade.failure;
  if (!r.grade.parts.is_null()) sample["verifier_parts"] = r.grade.parts;
  return sample;
}

void add_own(const Rollout& r, Json& sample) {
  if (!r.parts.is_null()) sample["parts"] = r.parts;
  if (r.dropped) sample["dropped"] = true;
}

// Means by name, in the order of names.
class Means {
 public:
  void add(const std::string& name, double value) {
    auto& [sum, count] = sums_[name];
    sum += value;
    ++count;
  }
  void write(const std::string& before, const std::string& behind, Json& row) const {
    for (const auto& [name, sum] : sums_)
      row[before + name + behind] = sum.first / static_cast<double>(sum.second);
  }

 private:
  std::map<std::string, std::pair<double, int64_t>> sums_;
};

void add_numbers(const Json& parts, Means& means) {
  if (parts.kind() != Json::Kind::kObject) return;
  for (const auto& [name, value] : parts.as_object())
    if (value.is_number()) means.add(name, value.as_double());
}

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
  double kept = 0;
  for (const Rollout& r : rollouts) {
    const size_t task = static_cast<size_t>(r.problem.task);
    out.token_count += static_cast<double>(answer_length(r));
    cut += r.generation.finish == FinishReason::kLength ? 1 : 0;
    if (r.dropped) continue;
    kept += 1;
    reward += r.reward;
    squares += r.reward * r.reward;
    if (r.item != nullptr) continue;
    out.task_right[task] += r.score;
    out.task_total[task] += 1;
  }
  const double n = static_cast<double>(rollouts.size());
  if (kept > 0) {
    out.reward_mean = reward / kept;
    out.reward_std = std::sqrt(std::max(0.0, squares / kept - out.reward_mean * out.reward_mean));
  }
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

void add_item_rewards(const std::vector<Rollout>& rollouts, const ItemPool& items, Json& row) {
  Means means;
  std::map<std::string, int64_t> failures;
  int64_t failed = 0;
  int64_t dropped = 0;
  for (const Rollout& r : rollouts) {
    dropped += r.dropped ? 1 : 0;
    if (r.item == nullptr) continue;
    if (!r.dropped) means.add(items.source_name(r.item->source), r.score);
    if (r.grade.failure.empty() || r.episode) continue;
    ++failures[r.grade.failure];
    ++failed;
  }
  means.write("rewards/", "/mean", row);
  if (failed > 0) row["verifier/failures"] = failed;
  for (const auto& [kind, count] : failures) row["verifier/failures/" + kind] = count;
  if (dropped > 0) row["dropped_answers"] = dropped;
}

void add_reward_parts(const std::vector<Rollout>& rollouts, Json& row) {
  Means own, told;
  for (const Rollout& r : rollouts) {
    if (r.dropped) continue;
    add_numbers(r.parts, own);
    add_numbers(r.grade.parts, told);
  }
  own.write("reward_parts/", "/mean", row);
  told.write("verifier_parts/", "/mean", row);
}

void add_episodes(const std::vector<Rollout>& rollouts, Json& row) {
  std::map<std::string, int64_t> counts;
  Means means;
  for (const Rollout& r : rollouts) {
    if (!r.episode) continue;
    if (!r.grade.failure.empty()) {
      ++counts["environment/failures"];
      ++counts["environment/failures/" + r.grade.failure];
      continue;
    }
    ++counts[r.episode->too_long ? std::string("episodes/too_long")
                                 : fmt::format("episodes/end/{}", name_of(r.episode->end))];
    means.add("turns", static_cast<double>(r.episode->answers.size()));
    means.add("tokens", static_cast<double>(r.prompt.size() + r.generation.tokens.size()));
  }
  means.write("episodes/", "", row);
  for (const auto& [name, count] : counts) row[name] = count;
}

void add_heldout_rewards(const std::vector<Rollout>& answers, const ItemPool& items, Json& row) {
  Means all, each;
  for (const Rollout& r : answers) {
    if (!r.grade.score) continue;
    all.add("reward", *r.grade.score);
    each.add(items.source_name(r.item->source), *r.grade.score);
  }
  all.write("eval_", "", row);
  if (items.source_count() > 1) each.write("eval_reward_", "", row);
}

SampleLog::SampleLog(const Path& folder, int64_t step) : path_(folder / "samples.jsonl") {
  if (!path_exists(path_)) return;
  std::string kept;
  for (const Json& row : read_metrics(path_)) {
    if (row.at("step").as_int("step") <= step) kept += row.dump() + "\n";
  }
  write_file(path_, kept);
}

void SampleLog::write(int64_t step, const std::vector<Rollout>& rollouts, int64_t count,
                      std::optional<int64_t> weights_step) const {
  std::string lines;
  count = std::min(count, std::ssize(rollouts));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = std::ssize(rollouts) * i / count;
    const Rollout& r = rollouts[static_cast<size_t>(index)];
    Json sample = r.item != nullptr ? sample_of_item(r, step) : sample_of(r, step);
    add_own(r, sample);
    if (weights_step) sample["weights_step"] = *weights_step;
    lines += sample.dump() + "\n";
  }
  if (!lines.empty()) append_file(path_, lines);
}

}  // namespace dure
