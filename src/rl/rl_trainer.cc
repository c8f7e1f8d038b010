#include "rl/rl_trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/model_texts.h"
#include "formats/model_files.h"
#include "model/load.h"
#include "rl/objectives.h"
#include "tensor/cpu_stream.h"
#include "train/learner.h"
#include "train/metrics.h"
#include "train/router_bias.h"
#include "train/run_identity.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t length_of(const Rollout& r) {
  return static_cast<int64_t>(r.prompt.size() + r.generation.tokens.size());
}
int64_t answer_length(const Rollout& r) { return static_cast<int64_t>(r.generation.tokens.size()); }

// A few responses as one packed batch: each is a document; only its answer has targets.
struct MicroBatch {
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths;
  std::vector<size_t> members;       // indices of rollouts
  std::vector<int64_t> answer_rows;  // row that predicts the first token of each answer

  void add(const Rollout& r, size_t index) {
    const int64_t first = static_cast<int64_t>(ids.size()),
                  prompt = static_cast<int64_t>(r.prompt.size());
    ids.insert(ids.end(), r.prompt.begin(), r.prompt.end());
    ids.insert(ids.end(), r.generation.tokens.begin(), r.generation.tokens.end());
    targets.resize(ids.size(), kIgnore);
    for (int64_t k = 0; k < answer_length(r); ++k)
      targets[static_cast<size_t>(first + prompt - 1 + k)] =
          r.generation.tokens[static_cast<size_t>(k)];
    lengths.push_back(length_of(r));
    members.push_back(index);
    answer_rows.push_back(first + prompt - 1);
  }
};

// Responses in order, cut where the rows would pass `rows_max`. Dropped responses (scale 0) cost
// nothing.
std::vector<MicroBatch> micro_batches(const std::vector<Rollout>& rollouts,
                                      const ResponsePlan& plan, size_t begin, size_t end,
                                      int64_t rows_max) {
  std::vector<MicroBatch> batches;
  for (size_t i = begin; i < end; ++i) {
    if (plan.scales[i] == 0 || answer_length(rollouts[i]) == 0) continue;
    if (batches.empty() ||
        static_cast<int64_t>(batches.back().ids.size()) + length_of(rollouts[i]) > rows_max)
      batches.emplace_back();
    batches.back().add(rollouts[i], i);
  }
  return batches;
}

struct StepStats {
  double loss = 0, gradient_norm = 0, entropy_sum = 0;
  int64_t updates = 0;
  ObjectiveStats objective;
  std::vector<int64_t> expert_counts;
};

class RlRun {
 public:
  explicit RlRun(const RlConfig& config)
      : config_(config),
        folder_(config.output),
        files_(std::make_shared<ModelFiles>(find_model(config.init))),
        tokenizer_(require_tokenizer(*files_)),
        chat_(load_chat_template(*files_)),
        learner_(files_->config(), learner_options(), stream_),
        generator_(learner_.weights(), generator_options(), stream_),
        schedule_(make_schedule(config.schedule, config.optimiser.learning_rate, config.steps)) {
    store_.emplace(folder_ / "checkpoints", config_.checkpoint.keep_last);
    if (const auto latest = store_->latest()) {
      const Checkpoint checkpoint(*latest);
      require_same_run(checkpoint, identity(), folder_);
      learner_.load(checkpoint);
      step_ = checkpoint.step();
    } else {
      load_parameters(*files_, learner_.parameters(), stream_);
    }
    metrics_.emplace(folder_, step_);
    write_file(folder_ / "config.json", to_json(config_).dump(2) + "\n");
    cut_samples();
    if (step_ > 0)
      log_info("{}: continuing at step {} of {}", folder_.string(), step_, config_.steps);
  }

  void run() {
    Progress progress("rl", config_.steps, "steps");
    progress.start_at(step_);
    std::string note;
    while (step_ < config_.steps) {
      note = one_step();
      ++step_;
      progress.update(step_, note);
      const bool stop = interrupted();
      if (stop || step_ % config_.checkpoint.every_steps == 0 || step_ == config_.steps) save();
      if (stop) throw_if_interrupted("the state is saved: run the same command to continue");
    }
    progress.finish(note);
    export_model(folder_ / "model", learner_.parameters(), folder_texts(*files_, tokenizer_));
  }

 private:
  LearnerOptions learner_options() const {
    return {.optimiser = config_.optimiser,
            .pass = {.rows_max = std::max(config_.micro_rows_max, context_tokens()), .mtp = false},
            .train_router = false};
  }
  // Length, rates, clips and when to save may be changed when a run is continued; what its steps
  // are made of may not.
  Json identity() const {
    const Json all = to_json(config_);
    Json out = Json::object();
    for (const char* name : {"seed", "updates_per_step", "rollout", "tasks"})
      out[name] = all.at(name);
    out["objective"] = config_.objective.objective, out["optimiser.kind"] = config_.optimiser.kind;
    out["init content"] = content_hash(files_->path(), "model.safetensors");
    return out;
  }
  // The prompt of a problem is short; a run that meets a longer one says so (Generator::submit).
  int64_t context_tokens() const { return config_.rollout.new_tokens_max + 256; }
  GeneratorOptions generator_options() const {
    const int64_t together =
        std::min(config_.rollout.sequences_max,
                 config_.rollout.prompts_per_step * config_.rollout.group_size);
    return {.sequences_max = together,
            .context_tokens_max = context_tokens(),
            .batch_rows_max = std::max<int64_t>(512, together)};
  }

  std::string one_step() {
    const auto start = Clock::now();
    const std::vector<Rollout> rollouts =
        collect_rollouts(config_.rollout, config_.tasks, static_cast<uint64_t>(config_.seed), step_,
                         tokenizer_, chat_, generator_);
    const double rollout_s = seconds_since(start);
    std::vector<int64_t> groups, counts;
    std::vector<double> rewards;
    for (const Rollout& r : rollouts)
      groups.push_back(r.group), rewards.push_back(r.reward), counts.push_back(answer_length(r));
    const ResponsePlan plan = plan_responses(config_.objective, groups, rewards, counts);
    const StepStats stats = learn(rollouts, plan);
    write_samples(rollouts);
    return record(rollouts, plan, stats, rollout_s, seconds_since(start));
  }

  // `updates_per_step` updates over equal shares of the groups. Advantages and scales are those of
  // the whole batch, a share's scales times the number of shares.
  StepStats learn(const std::vector<Rollout>& rollouts, const ResponsePlan& plan) {
    StepStats stats;
    stats.expert_counts.resize(learner_.expert_counts().size());
    const int64_t shares = std::min(config_.updates_per_step, config_.rollout.prompts_per_step);
    for (int64_t share = 0; share < shares; ++share) {
      const auto bound = [&](int64_t k) {
        return static_cast<size_t>(config_.rollout.prompts_per_step * k / shares *
                                   config_.rollout.group_size);
      };
      const auto batches =
          micro_batches(rollouts, plan, bound(share), bound(share + 1), learner_rows());
      if (batches.empty())
        continue;  // Every group was all right or all wrong: nothing to learn from.
      for (const MicroBatch& batch : batches)
        accumulate(batch, rollouts, plan, static_cast<double>(shares), stats);
      if (!std::isfinite(stats.loss))
        fail(ErrorCode::kDiverged,
             "RL step {}: the loss is {}; go on from the last checkpoint, where there is one, with "
             "a "
             "lower optimiser.learning_rate",
             step_, stats.loss);
      for (size_t i = 0; i < stats.expert_counts.size(); ++i)
        stats.expert_counts[i] += learner_.expert_counts()[i];
      stats.gradient_norm +=
          learner_.update(schedule_.rate(step_), fmt::format("RL step {}", step_)).gradient_norm;
      ++stats.updates;
    }
    return stats;
  }

  int64_t learner_rows() const { return std::max(config_.micro_rows_max, context_tokens()); }

  void accumulate(const MicroBatch& batch, const std::vector<Rollout>& rollouts,
                  const ResponsePlan& plan, double share_count, StepStats& stats) {
    TrainPass& pass = learner_.pass();
    pass.forward(learner_.weights(),
                 {.ids = batch.ids, .targets = batch.targets, .document_lengths = batch.lengths},
                 stream_);
    pass.token_log_probabilities(/*want_entropy=*/true, stream_);
    coefficients_.assign(batch.ids.size(), 0.0f);
    for (size_t m = 0; m < batch.members.size(); ++m) {
      const Rollout& r = rollouts[batch.members[m]];
      const size_t row = static_cast<size_t>(batch.answer_rows[m]),
                   count = r.generation.tokens.size();
      stats.loss += response_loss<float>(
          config_.objective, plan.advantages[batch.members[m]],
          plan.scales[batch.members[m]] * share_count, pass.log_probability().subspan(row, count),
          r.generation.log_probabilities, std::span(coefficients_).subspan(row, count),
          &stats.objective);
      for (const float h : pass.entropy().subspan(row, count)) stats.entropy_sum += h;
    }
    learner_.backward({.row_coefficients = coefficients_});
  }

  std::string record(const std::vector<Rollout>& rollouts, const ResponsePlan& plan,
                     const StepStats& stats, double rollout_s, double step_s) {
    const double n = static_cast<double>(rollouts.size());
    double reward = 0, squares = 0, tokens = 0, cut = 0;
    std::vector<double> task_right(kTaskCount), task_total(kTaskCount);
    for (const Rollout& r : rollouts) {
      reward += r.reward, squares += r.reward * r.reward,
          tokens += static_cast<double>(answer_length(r));
      cut += r.generation.finish == FinishReason::kLength ? 1 : 0;
      task_right[static_cast<size_t>(r.problem.task)] += r.reward,
          task_total[static_cast<size_t>(r.problem.task)] += 1;
    }
    const double mean = reward / n,
                 count = static_cast<double>(std::max<int64_t>(1, stats.objective.token_count));
    const double entropy = stats.entropy_sum / count,
                 updates = static_cast<double>(std::max<int64_t>(1, stats.updates));
    Json row = Json::object();
    row["reward"] = mean;
    row["reward_std"] = std::sqrt(std::max(0.0, squares / n - mean * mean));
    row["loss"] = stats.loss / updates;
    row["entropy"] = stats.objective.token_count > 0 ? Json(entropy) : Json();
    row["kl"] = stats.objective.kl_sum / count;
    row["sampler_mismatch_max"] = stats.objective.mismatch_max;
    row["clip_ratio"] = static_cast<double>(stats.objective.clipped_count) / count;
    row["grad_norm"] = stats.gradient_norm / updates;
    row["learning_rate"] = schedule_.rate(step_);
    row["frac_reward_zero_std"] =
        static_cast<double>(plan.dead_group_count) / static_cast<double>(plan.group_count);
    row["completions/mean_length"] = tokens / n;
    row["completions/clipped_ratio"] = cut / n;
    row["step_time"] = step_s;
    row["rollout_time"] = rollout_s;
    row["rollout_tokens_per_second"] = tokens / rollout_s;
    for (int t = 0; t < kTaskCount; ++t) {
      if (task_total[static_cast<size_t>(t)] > 0)
        row[fmt::format("rewards/{}/mean", task_name(static_cast<Task>(t)))] =
            task_right[static_cast<size_t>(t)] / task_total[static_cast<size_t>(t)];
    }
    add_router_load(row, stats);
    metrics_->write(step_ + 1, row);
    return fmt::format("reward {:.2f}  length {:.0f}  entropy {:.2f}", mean, tokens / n, entropy);
  }

  void add_router_load(Json& row, const StepStats& stats) const {
    if (stats.updates == 0) return;
    const int64_t experts = learner_.config().expert_count;
    for (int64_t layer = 0; layer < learner_.config().layer_count(); ++layer) {
      if (!learner_.config().layers[static_cast<size_t>(layer)].sparse) continue;
      const auto counts =
          std::span<const int64_t>(stats.expert_counts)
              .subspan(static_cast<size_t>(layer * experts), static_cast<size_t>(experts));
      row[fmt::format("router/load_cv/{}", layer)] = router_load(counts).cv;
    }
  }

  // A few answers a step, spread over the groups: curves alone hide what a reward is given for.
  void write_samples(const std::vector<Rollout>& rollouts) const {
    std::string lines;
    for (int64_t i = 0; i < config_.log_samples; ++i) {
      const Rollout& r = rollouts[static_cast<size_t>(static_cast<int64_t>(rollouts.size()) * i /
                                                      config_.log_samples)];
      Json sample = Json::object();
      sample["step"] = step_ + 1;
      sample["task"] = task_name(r.problem.task), sample["language"] = r.problem.language;
      sample["prompt"] = r.problem.prompt, sample["thinking"] = r.reasoning,
      sample["content"] = r.content;
      sample["expected"] = r.problem.answer, sample["reward"] = r.reward;
      lines += sample.dump() + "\n";
    }
    if (!lines.empty()) append_file(folder_ / "samples.jsonl", lines);
  }

  // Samples of steps after the checkpoint go, as the metrics' rows do: each step stands there once.
  void cut_samples() const {
    const Path path = folder_ / "samples.jsonl";
    if (!path_exists(path)) return;
    std::string kept;
    for (const Json& row : read_metrics(path)) {
      if (row.at("step").as_int("step") <= step_) kept += row.dump() + "\n";
    }
    write_file(path, kept);
  }

  void save() {
    CheckpointContent content;
    content.step = step_;
    content.state["identity"] = identity();
    learner_.save(content);
    store_->save(content);
  }

  RlConfig config_;
  Path folder_;
  CpuStream stream_;
  std::shared_ptr<const ModelFiles> files_;
  Tokenizer tokenizer_;
  ChatTemplate chat_;
  Learner learner_;
  Generator generator_;
  WsdSchedule schedule_;
  std::optional<CheckpointStore> store_;
  std::optional<MetricsLog> metrics_;
  std::vector<float> coefficients_;
  int64_t step_ = 0;
};

}  // namespace

void run_rl(const RlConfig& config) {
  if (config.init.empty())
    fail(ErrorCode::kInvalidArgument, "init is empty: name the model folder to start from");
  if (config.output.empty())
    fail(ErrorCode::kInvalidArgument, "output is empty: name the folder of the run");
  check_mixture(config.tasks, "tasks");
  RlRun(config).run();
}

}  // namespace dure
