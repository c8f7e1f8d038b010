#include "train/trainer.h"

#include <chrono>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/corpus.h"
#include "data/packing.h"
#include "data/sft.h"
#include "data/tokenise.h"
#include "formats/hf_config.h"
#include "model/load.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/learner.h"
#include "train/metrics.h"
#include "train/router_bias.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

struct StepTotals {
  double loss_sum = 0, mtp_sum = 0, balance = 0;
  int64_t valid = 0, mtp_valid = 0, tokens = 0;
};

// Targets of a batch, and of its MTP layer: row t's is the target of row t+1 of the same document.
struct TargetCounts {
  int64_t valid = 0, mtp_valid = 0;
};

TargetCounts count_targets(const TrainBatch& batch) {
  TargetCounts counts;
  size_t row = 0;
  for (const int64_t length : batch.document_lengths) {
    for (int64_t i = 0; i < length; ++i, ++row) {
      if (batch.targets[row] == kIgnoredTarget) continue;
      ++counts.valid;
      if (i > 0) ++counts.mtp_valid;
    }
  }
  return counts;
}

class TrainRun {
 public:
  TrainRun(const TrainConfig& config, const Json& model)
      : config_(config), folder_(config.output), files_(open_init(config)), tokenizer_(Tokenizer::load(tokenizer_folder())),
        learner_(model_config(model), learner_options(), stream_), source_(sources(), packing_options()),
        schedule_(make_schedule(config.schedule, config.optimiser.learning_rate, config.steps)) {
    make_folders(folder_);
    write_file(folder_ / "config.json", to_json(config_).dump(2) + "\n");
    store_.emplace(folder_ / "checkpoints", config_.record.keep_last);
    if (const auto latest = store_->latest()) {
      resume(Checkpoint(*latest));
    } else if (files_) {
      load_parameters(*files_, learner_.parameters(), stream_);
    } else {
      learner_.parameters().initialise(static_cast<uint64_t>(config_.seed), stream_);
    }
    metrics_.emplace(folder_, step_, config_.record.tensorboard);
  }

  void run() {
    Progress progress(config_.stage, config_.steps * config_.batch.rows * config_.batch.tokens, "tokens");
    progress.start_at(step_ * step_tokens());
    std::string note;
    while (step_ < config_.steps) {
      note = one_step();
      progress.update(step_ * step_tokens(), note);
      const bool stop = interrupted();
      if (stop || step_ % config_.record.checkpoint_steps == 0 || step_ == config_.steps) save();
      if (stop) throw_if_interrupted("the state is saved: run the same command to continue");
    }
    progress.finish(note);
    export_model(folder_ / "model", learner_.parameters(), texts());
  }

 private:
  static std::shared_ptr<const ModelFiles> open_init(const TrainConfig& config) {
    return config.init.empty() ? nullptr : std::make_shared<ModelFiles>(find_model(config.init));
  }
  Path tokenizer_folder() const { return config_.tokenizer.empty() && files_ ? files_->path() : Path(config_.tokenizer); }
  int64_t step_tokens() const { return config_.batch.rows * config_.batch.tokens; }
  int64_t micro_rows() const { return config_.batch.micro_rows > 0 ? std::min(config_.batch.micro_rows, config_.batch.rows) : config_.batch.rows; }

  ModelConfig model_config(const Json& model) const {
    if (files_) return files_->config();
    Json json = model;
    json["vocab_size"] = tokenizer_.vocab_size();
    if (const auto id = tokenizer_.eos_id()) json["eos_token_id"] = int64_t{*id};
    if (const auto id = tokenizer_.bos_id()) json["bos_token_id"] = int64_t{*id};
    if (const auto id = tokenizer_.pad_id()) json["pad_token_id"] = int64_t{*id};
    return parse_hf_config(json, "model");
  }

  LearnerOptions learner_options() const {
    return {.optimiser = config_.optimiser,
            .pass = {.rows_max = micro_rows() * config_.batch.tokens, .recompute = config_.batch.recompute, .mtp = config_.loss.mtp_coefficient > 0},
            .router_bias_rate = config_.loss.router_bias_rate,
            .train_router = config_.loss.train_router};
  }

  PackingOptions packing_options() const {
    const bool sft = config_.stage == "sft";
    return {.packing = sft ? Packing::kBestFit : Packing::kStream,
            .row_count = micro_rows(),
            .row_tokens = config_.batch.tokens,
            .pad_id = tokenizer_.pad_id().value_or(0),
            .seed = static_cast<uint64_t>(config_.seed)};
  }

  std::vector<WeightedSource> sources() const {
    std::vector<WeightedSource> out;
    const TrainDataOptions& data = config_.data;
    const Path cache = folder_ / "cache";
    if (config_.stage == "pretrain") {
      if (data.corpus.empty()) fail(ErrorCode::kInvalidArgument, "data.corpus is empty: name a folder made by `dure data prepare`");
      out.push_back({tokenise_corpus(train_file(data.corpus), tokenizer_, cache), 1, data.corpus});
      return out;
    }
    if (!data.corpus.empty() && path_exists(Path(data.corpus) / "chat-train.jsonl")) {
      out.push_back({load_conversations(Path(data.corpus) / "chat-train.jsonl", tokenizer_), 1, data.corpus});
    }
    if (data.tasks_weight > 0) {
      out.push_back({problem_conversations(data.tasks, static_cast<uint64_t>(config_.seed), data.tasks_limit, tokenizer_), data.tasks_weight, "tasks"});
    }
    if (out.empty()) fail(ErrorCode::kInvalidArgument, "sft has no data: set data.tasks_weight, or data.corpus to a folder with chat-train.jsonl");
    return out;
  }

  void resume(const Checkpoint& checkpoint) {
    learner_.load(checkpoint);
    BatchState state;
    from_json(state, checkpoint.state().at("data"), checkpoint.path().string());
    source_.restore(state);
    step_ = checkpoint.step();
    tokens_seen_ = checkpoint.state().at("num_tokens").as_int("num_tokens");
    log_info("continuing at step {} of {}", step_, config_.steps);
  }

  // All micro-batches of the step are drawn first: the losses are divided by the counts of the whole step.
  std::string one_step() {
    const auto start = Clock::now();
    const int64_t micro_count = (config_.batch.rows + micro_rows() - 1) / micro_rows();
    batches_.resize(static_cast<size_t>(micro_count));
    LossOptions options{.mtp_coefficient = config_.loss.mtp_coefficient, .balance_coefficient = config_.loss.balance_coefficient};
    StepTotals totals;
    for (TrainBatch& batch : batches_) {
      source_.next(batch);
      const TargetCounts counts = count_targets(batch);
      options.valid_count += counts.valid, options.mtp_valid_count += counts.mtp_valid;
      options.document_count += static_cast<int64_t>(batch.document_lengths.size());
    }
    for (const TrainBatch& batch : batches_) accumulate(batch, options, totals);
    if (!std::isfinite(totals.loss_sum)) {
      fail(ErrorCode::kDiverged, "{}: the loss of step {} is {}; the last checkpoint stands, continue from it with a lower learning rate", folder_.string(),
           step_ + 1, totals.loss_sum);
    }
    const std::vector<int64_t> counts = learner_.expert_counts();
    const double rate = schedule_.rate(step_);
    const UpdateResult update = learner_.update(rate, fmt::format("{}: step {}", folder_.string(), step_ + 1));
    ++step_;
    tokens_seen_ += totals.tokens;
    return record(totals, counts, rate, update, std::chrono::duration<double>(Clock::now() - start).count());
  }

  void accumulate(const TrainBatch& batch, const LossOptions& options, StepTotals& totals) {
    const LossResult& result = learner_.accumulate({.ids = batch.ids, .targets = batch.targets, .document_lengths = batch.document_lengths}, options);
    totals.loss_sum += result.loss_sum, totals.mtp_sum += result.mtp_loss_sum, totals.balance += result.balance_loss;
    totals.valid += result.valid, totals.mtp_valid += result.mtp_valid, totals.tokens += static_cast<int64_t>(batch.ids.size());
  }

  std::string record(const StepTotals& totals, const std::vector<int64_t>& counts, double rate, const UpdateResult& update, double seconds) {
    const double loss = totals.loss_sum / static_cast<double>(std::max<int64_t>(1, totals.valid));
    Json row = Json::object();
    row["loss"] = loss;
    if (totals.mtp_valid > 0) row["mtp_loss"] = totals.mtp_sum / static_cast<double>(totals.mtp_valid);
    row["balance_loss"] = totals.balance;
    row["grad_norm"] = update.gradient_norm;
    row["learning_rate"] = rate;
    row["num_tokens"] = tokens_seen_;
    row["step_time"] = seconds;
    row["tokens_per_second"] = static_cast<double>(totals.tokens) / seconds;
    const int64_t experts = learner_.config().expert_count;
    for (int64_t layer = 0; layer < learner_.config().layer_count(); ++layer) {
      if (!learner_.config().layers[static_cast<size_t>(layer)].sparse) continue;
      row[fmt::format("router/load_cv/{}", layer)] =
          router_load(std::span<const int64_t>(counts).subspan(static_cast<size_t>(layer * experts), static_cast<size_t>(experts))).cv;
    }
    if (config_.record.eval_steps > 0 && (step_ % config_.record.eval_steps == 0 || step_ == config_.steps)) row["eval_loss"] = held_out_loss();
    metrics_->write(step_, row);
    return fmt::format("loss {:.3f}", loss);
  }

  // Mean loss over the first rows of each language's held-out text.
  double held_out_loss() {
    if (config_.data.corpus.empty()) return NAN;
    if (held_out_.empty()) {
      for (const std::string& language : heldout_languages(config_.data.corpus)) {
        held_out_.push_back(tokenise_corpus(heldout_file(config_.data.corpus, language), tokenizer_, folder_ / "cache"));
      }
    }
    const int64_t languages = static_cast<int64_t>(held_out_.size()), rows = std::max<int64_t>(1, config_.record.eval_rows / std::max<int64_t>(1, languages));
    double sum = 0;
    int64_t valid = 0;
    for (const auto& documents : held_out_) {
      EvalBatches batches(documents, {.row_count = std::min(rows, micro_rows()), .row_tokens = config_.batch.tokens});
      TrainBatch batch;
      if (!batches.next(batch)) continue;
      learner_.pass().forward(learner_.weights(), {.ids = batch.ids, .targets = batch.targets, .document_lengths = batch.document_lengths}, stream_);
      const LossResult& result = learner_.pass().losses({}, stream_);
      sum += result.loss_sum, valid += result.valid;
    }
    return sum / static_cast<double>(std::max<int64_t>(1, valid));
  }

  void save() {
    CheckpointContent content;
    content.step = step_;
    content.state["data"] = to_json(source_.state());
    content.state["num_tokens"] = tokens_seen_;
    learner_.save(content);
    store_->save(content);
  }

  ModelTexts texts() const {
    ModelTexts out;
    if (files_) out = files_->texts();
    out.tokenizer_json = tokenizer_.to_json();
    out.tokenizer_config = tokenizer_.to_config_json().dump(2) + "\n";
    if (!out.chat_template) out.chat_template = std::string(released_chat_template(ChatFormat::kK1));
    if (!out.generation_config) {
      Json generation = Json::object();
      generation["do_sample"] = true, generation["temperature"] = 1.0, generation["top_p"] = 0.95;
      if (const auto id = tokenizer_.eos_id()) generation["eos_token_id"] = int64_t{*id};
      if (const auto id = tokenizer_.bos_id()) generation["bos_token_id"] = int64_t{*id};
      if (const auto id = tokenizer_.pad_id()) generation["pad_token_id"] = int64_t{*id};
      out.generation_config = generation.dump(2) + "\n";
    }
    return out;
  }

  TrainConfig config_;
  Path folder_;
  Stream stream_;
  std::shared_ptr<const ModelFiles> files_;  // null for a new model
  Tokenizer tokenizer_;
  Learner learner_;
  BatchSource source_;
  WsdSchedule schedule_;
  std::optional<CheckpointStore> store_;
  std::optional<MetricsLog> metrics_;
  std::vector<TrainBatch> batches_;
  std::vector<std::shared_ptr<const DocumentSource>> held_out_;
  int64_t step_ = 0, tokens_seen_ = 0;
};

}  // namespace

void run_training(const TrainConfig& config, const Json& model) {
  if (config.output.empty()) fail(ErrorCode::kInvalidArgument, "output is empty: name the folder of the run");
  if (config.init.empty() && model.is_null()) fail(ErrorCode::kInvalidArgument, "neither init nor model is given: name a model folder, or describe a new model");
  if (config.init.empty() && config.tokenizer.empty()) fail(ErrorCode::kInvalidArgument, "tokenizer is empty: a new model needs one (`dure tokenizer train`)");
  if (config.stage == "sft") check_mixture(config.data.tasks, "data.tasks");
  TrainRun(config, model).run();
}

}  // namespace dure
