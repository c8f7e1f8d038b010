#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numbers>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/corpus.h"
#include "data/model_texts.h"
#include "data/packing.h"
#include "data/pieces.h"
#include "data/sft.h"
#include "data/tokenise.h"
#include "formats/hf_config.h"
#include "kernels/optimiser.h"
#include "model/load.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/learner.h"
#include "train/metrics.h"
#include "train/router_bias.h"
#include "train/run_identity.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kHeldoutProblemsPerCell = 2;  // A cell is a task in a language.

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t tokens_of_step(const TrainConfig& config) {
  return config.batch.rows * config.batch.tokens;
}

int64_t steps_of(const TrainConfig& config) {
  return config.tokens > 0 ? (config.tokens + tokens_of_step(config) - 1) / tokens_of_step(config)
                           : config.steps;
}

// A batch without the documents that are nothing but padding: they would cost time and count in the
// router's load.
void drop_padding(TrainBatch& batch, int32_t pad) {
  size_t to = 0, from = 0, kept = 0;
  for (const int64_t length : batch.document_lengths) {
    const auto ids = batch.ids.begin() + static_cast<int64_t>(from),
               targets = batch.targets.begin() + static_cast<int64_t>(from);
    const bool padding = std::all_of(ids, ids + length, [&](int32_t id) { return id == pad; }) &&
                         std::all_of(targets, targets + length,
                                     [](int32_t target) { return target == kIgnoredTarget; });
    if (!padding) {
      std::copy(ids, ids + length, batch.ids.begin() + static_cast<int64_t>(to));
      std::copy(targets, targets + length, batch.targets.begin() + static_cast<int64_t>(to));
      batch.document_lengths[kept++] = length;
      to += static_cast<size_t>(length);
    }
    from += static_cast<size_t>(length);
  }
  batch.ids.resize(to), batch.targets.resize(to), batch.document_lengths.resize(kept);
}

TrainInput input_of(const TrainBatch& batch) {
  return {.ids = batch.ids, .targets = batch.targets, .document_lengths = batch.document_lengths};
}

struct StepLosses {  // Means over the step's targets; the balance loss as it enters the objective.
  double loss = 0, mtp = 0, balance = 0;
  int64_t tokens = 0, mtp_valid = 0;
  bool finite() const {
    return std::isfinite(loss) && std::isfinite(mtp) && std::isfinite(balance);
  }
};

struct HeldoutSet {
  std::string name;  // A language, or "tasks".
  std::shared_ptr<const DocumentSource> documents;
};

class TrainRun {
 public:
  // Only looks: whether the folder is free, and what it holds. open() allocates.
  TrainRun(const TrainConfig& config, const Json& model, const std::string& source)
      : config_(config),
        model_json_(model),
        source_name_(source),
        folder_(config.output),
        total_steps_(steps_of(config)),
        schedule_(make_schedule(config.schedule, config.optimiser.learning_rate, total_steps_)) {
    if (!config.init.empty()) init_ = find_model(config.init);
    tokenizer_path_ = config.tokenizer.empty() ? *init_ : Path(config.tokenizer);
    store_.emplace(folder_ / "checkpoints", config_.record.keep_last);
    identity_ = identity();
    if (const auto latest = store_->latest())
      checkpoint_.emplace(*latest), require_same_run(*checkpoint_, identity_, folder_);
  }

  void run() {
    if (checkpoint_ && checkpoint_->step() >= total_steps_ &&
        path_exists(folder_ / "model" / "config.json")) {
      log_info("{}: done before ({} steps); the model is in {}", folder_.string(),
               checkpoint_->step(), (folder_ / "model").string());
      return;
    }
    open();
    Progress progress(config_.stage, total_steps_ * tokens_of_step(config_), "tokens");
    progress.start_at(step_ * tokens_of_step(config_));
    saved_ = Clock::now();
    std::string note;
    while (step_ < total_steps_) {
      note = one_step();
      progress.update(step_ * tokens_of_step(config_), note);
      const bool stop = interrupted() && step_ < total_steps_;
      if (stop || due_to_save() || step_ == total_steps_) save();
      if (stop) throw_if_interrupted("the state is saved: run the same command to continue");
    }
    progress.finish(note);
    export_model(folder_ / "model", learner_->parameters(), texts_);
  }

 private:
  bool sft() const { return config_.stage == "sft"; }
  int64_t micro_rows() const {
    return config_.batch.micro_rows > 0 ? config_.batch.micro_rows : config_.batch.rows;
  }

  // What makes a run this run: the fields its state depends on, and the content of its inputs. The
  // rest (length, rates, weights of losses, when to save) may be changed when it is continued.
  Json identity() const {
    const Json all = to_json(config_);
    Json out = Json::object();
    for (const char* name : {"stage", "seed", "data"}) out[name] = all.at(name);
    out["batch.rows"] = config_.batch.rows, out["batch.tokens"] = config_.batch.tokens;
    out["optimiser.kind"] = config_.optimiser.kind;
    out["model"] = model_json_;
    out["tokenizer content"] = content_hash(tokenizer_path_, "tokenizer.json");
    if (init_) out["init content"] = content_hash(*init_, "model.safetensors");
    if (!config_.data.corpus.empty())
      out["corpus content"] = content_hash(config_.data.corpus, "manifest.json");
    return out;
  }

  void open() {
    tokenizer_.emplace(load_tokenizer(tokenizer_path_));
    if (init_) files_ = std::make_shared<ModelFiles>(*init_);
    const ModelConfig model = files_ ? files_->config() : new_model();
    if (tokenizer_->vocab_size() > model.vocab_size) {
      fail(ErrorCode::kInvalidArgument, "{}: the tokenizer has {} ids, the model's vocabulary {}",
           source_name_, tokenizer_->vocab_size(), model.vocab_size);
    }
    texts_ = make_texts(model);
    pad_ = tokenizer_->pad_id().value_or(static_cast<int32_t>(model.pad_token));
    batch_source_.emplace(sources(), PackingOptions{.packing = Packing::kBestFit,
                                                    .row_count = micro_rows(),
                                                    .row_tokens = config_.batch.tokens,
                                                    .pad_id = pad_,
                                                    .seed = static_cast<uint64_t>(config_.seed)});
    if (config_.record.eval_steps > 0) open_heldout();
    learner_.emplace(model, learner_options(), stream_);
    if (checkpoint_) {
      resume();
    } else if (files_) {
      load_parameters(*files_, learner_->parameters(), stream_);
    } else {
      learner_->parameters().initialise(static_cast<uint64_t>(config_.seed), stream_);
    }
    metrics_.emplace(folder_, step_, config_.record.tensorboard);
    write_file(folder_ / "config.json", to_json(config_).dump(2) + "\n");
    if (checkpoint_)
      log_info("{}: continuing at step {} of {}", folder_.string(), step_, total_steps_);
  }

  ModelConfig new_model() const {
    Json json = model_json_;
    json["vocab_size"] = tokenizer_->vocab_size();
    if (const auto id = tokenizer_->eos_id()) json["eos_token_id"] = int64_t{*id};
    if (const auto id = tokenizer_->bos_id()) json["bos_token_id"] = int64_t{*id};
    if (const auto id = tokenizer_->pad_id()) json["pad_token_id"] = int64_t{*id};
    ModelConfig model = parse_hf_config(json, source_name_ + ": model");
    check_config(model, source_name_ + ": model");
    return model;
  }

  LearnerOptions learner_options() const {
    return {.optimiser = config_.optimiser,
            .pass = {.rows_max = micro_rows() * config_.batch.tokens,
                     .recompute = config_.batch.recompute,
                     .mtp = config_.loss.mtp_coefficient > 0},
            .router_bias_rate = config_.loss.router_bias_rate,
            .train_router = config_.loss.train_router};
  }

  // The corpus's text in pieces of a row at most.
  WeightedSource text_source(double weight) const {
    const std::string& corpus = config_.data.corpus;
    if (corpus.empty())
      fail(ErrorCode::kInvalidArgument,
           "{}: data.corpus is empty: name a folder made by `dure data prepare`", source_name_);
    corpus_manifest(corpus);  // Says what to do where the folder is no corpus.
    const auto shard = tokenise_corpus(train_file(corpus), *tokenizer_, folder_ / "cache");
    return {std::make_shared<PiecedDocuments>(shard, config_.batch.tokens), weight, corpus};
  }

  std::vector<WeightedSource> sources() const {
    if (!sft()) return {text_source(1)};
    std::vector<WeightedSource> out;
    const TrainDataOptions& data = config_.data;
    if (!data.corpus.empty() && path_exists(Path(data.corpus) / "chat-train.jsonl")) {
      out.push_back({load_conversations(Path(data.corpus) / "chat-train.jsonl", *tokenizer_), 1,
                     data.corpus});
    }
    if (data.tasks_weight > 0) {
      out.push_back({problem_conversations(data.tasks, static_cast<uint64_t>(config_.seed),
                                           data.tasks_limit, *tokenizer_),
                     data.tasks_weight, "tasks"});
    }
    if (out.empty()) {
      fail(ErrorCode::kInvalidArgument,
           "{}: sft has no data: set data.tasks_weight, or data.corpus to a folder with "
           "chat-train.jsonl",
           source_name_);
    }
    if (data.text_weight > 0) out.push_back(text_source(data.text_weight));
    return out;
  }

  void open_heldout() {
    if (sft()) {
      const Path chat = Path(config_.data.corpus) / "chat-heldout.jsonl";
      if (config_.data.tasks_weight > 0)
        heldout_.push_back(
            {"tasks", heldout_problem_conversations(config_.data.tasks, 1, kHeldoutProblemsPerCell,
                                                    *tokenizer_)});
      if (!config_.data.corpus.empty() && path_exists(chat) && dure::file_size(chat) > 0)
        heldout_.push_back({"chat", load_conversations(chat, *tokenizer_)});
      return;
    }
    for (const std::string& language : heldout_languages(config_.data.corpus)) {
      const Path file = heldout_file(config_.data.corpus, language);
      if (dure::file_size(file) > 0)
        heldout_.push_back({language, tokenise_corpus(file, *tokenizer_, folder_ / "cache")});
    }
  }

  void resume() {
    learner_->load(*checkpoint_);
    BatchState state;
    from_json(state, checkpoint_->state().at("data"), checkpoint_->path().string() + ": data");
    batch_source_->restore(state);
    step_ = checkpoint_->step();
    tokens_seen_ = checkpoint_->state().at("num_tokens").as_int("num_tokens");
  }

  std::string one_step() {
    const auto start = Clock::now();
    const std::string where = fmt::format("{}: step {}", folder_.string(), step_ + 1);
    draw_micro_batches();
    const StepLosses losses = accumulate();
    if (!losses.finite()) {
      fail(ErrorCode::kDiverged,
           "{}: the loss is {} (MTP {}, balance {}); go on from the last checkpoint, "
           "where there is one, with a lower optimiser.learning_rate",
           where, losses.loss, losses.mtp, losses.balance);
    }
    Json row = Json::object();
    row["loss"] = losses.loss;
    if (losses.mtp_valid > 0) row["mtp_loss"] = losses.mtp;
    row["balance_loss"] = losses.balance;
    const double rate = schedule_.rate(step_);
    const double largest_cv = add_router_load(row);
    const UpdateResult update = learner_->update(rate, where);
    ++step_;
    tokens_seen_ += losses.tokens;
    const double seconds = seconds_since(start);
    row["grad_norm"] = update.gradient_norm;
    row["learning_rate"] = rate;
    row["num_tokens"] = tokens_seen_;
    row["step_time"] = seconds;
    row["tokens_per_second"] = static_cast<double>(losses.tokens) / seconds;
    if (!heldout_.empty() && (step_ % config_.record.eval_steps == 0 || step_ == total_steps_))
      add_heldout(row);
    metrics_->write(step_, row);
    return fmt::format("loss {:.3f}  load cv {:.2f}", losses.loss, largest_cv);
  }

  void draw_micro_batches() {
    micro_batches_.resize(static_cast<size_t>(config_.batch.rows / micro_rows()));
    for (TrainBatch& batch : micro_batches_) {
      batch_source_->next(batch);
      drop_padding(batch, pad_);
    }
  }

  // Counts first, over the whole step: a micro-batch's gradient is then its share of the step's,
  // however that is split.
  StepLosses accumulate() {
    LossOptions options{.mtp_coefficient = config_.loss.mtp_coefficient,
                        .balance_coefficient = config_.loss.balance_coefficient};
    for (const TrainBatch& batch : micro_batches_) {
      const TargetCounts counts = count_targets(input_of(batch));
      options.valid_count += counts.valid, options.mtp_valid_count += counts.mtp_valid;
      options.document_count += static_cast<int64_t>(batch.document_lengths.size());
    }
    StepLosses out;
    int64_t valid = 0;
    for (const TrainBatch& batch : micro_batches_) {
      if (batch.ids.empty()) continue;
      const LossResult& result = learner_->accumulate(input_of(batch), options);
      out.loss += result.loss_sum, out.mtp += result.mtp_loss_sum,
          out.balance += result.balance_loss;
      valid += result.valid, out.mtp_valid += result.mtp_valid,
          out.tokens += static_cast<int64_t>(batch.ids.size());
    }
    out.loss /= static_cast<double>(std::max<int64_t>(1, valid));
    out.mtp /= static_cast<double>(std::max<int64_t>(1, out.mtp_valid));
    return out;
  }

  double add_router_load(Json& row) const {
    const ModelConfig& model = learner_->config();
    double largest = 0;
    for (int64_t layer = 0; layer < model.layer_count(); ++layer) {
      if (!model.layers[static_cast<size_t>(layer)].sparse) continue;
      const auto counts = std::span(learner_->expert_counts())
                              .subspan(static_cast<size_t>(layer * model.expert_count),
                                       static_cast<size_t>(model.expert_count));
      const double cv = router_load(counts).cv;
      row[fmt::format("router/load_cv/{}", layer)] = cv;
      largest = std::max(largest, cv);
    }
    return largest;
  }

  struct Measured {
    double nats = 0;
    int64_t tokens = 0, bytes = 0;  // Predicted ones; bytes of text that ordinary tokens stand for.
    void operator+=(const Measured& other) {
      nats += other.nats, tokens += other.tokens, bytes += other.bytes;
    }
    double loss() const { return nats / static_cast<double>(std::max<int64_t>(1, tokens)); }
    double bits_per_byte() const {
      return nats / std::numbers::ln2 / static_cast<double>(std::max<int64_t>(1, bytes));
    }
  };

  Measured measure(const HeldoutSet& set, int64_t rows) {
    const int64_t together = std::min(rows, micro_rows());
    EvalBatches batches(set.documents, {.row_count = together,
                                        .row_tokens = config_.batch.tokens,
                                        .overlap_tokens = 1,
                                        .pad_id = pad_});
    Measured out;
    TrainBatch batch;
    for (int64_t done = 0; done < rows && batches.next(batch); done += together) {
      drop_padding(batch, pad_);
      if (batch.ids.empty()) continue;
      learner_->pass().forward(learner_->weights(), input_of(batch), stream_);
      const LossResult& result = learner_->pass().losses({}, stream_);
      out.nats += result.loss_sum, out.tokens += result.valid;
      for (const int32_t id : batch.targets) {
        if (id != kIgnoredTarget && !tokenizer_->is_special(id))
          out.bytes += static_cast<int64_t>(tokenizer_->token_bytes(id).size());
      }
    }
    return out;
  }

  void add_heldout(Json& row) {
    const int64_t rows =
        std::max<int64_t>(1, config_.record.eval_rows / static_cast<int64_t>(heldout_.size()));
    Measured all;
    for (const HeldoutSet& set : heldout_) {
      const Measured one = measure(set, rows);
      row["eval_loss_" + set.name] = one.loss();
      all += one;
    }
    row["eval_loss"] = all.loss();
    if (!sft()) row["eval_bits_per_byte"] = all.bits_per_byte();
  }

  bool due_to_save() const {
    const TrainRecordOptions& r = config_.record;
    return step_ % r.checkpoint_steps == 0 ||
           (r.checkpoint_minutes > 0 && seconds_since(saved_) >= 60 * r.checkpoint_minutes);
  }

  // Weights that are not finite are not worth a checkpoint: the older ones must stay.
  void save() {
    const ConstTensorView flat = learner_->parameters().flat();
    if (!std::isfinite(sum_of_squares({&flat, 1}, stream_))) {
      fail(ErrorCode::kDiverged,
           "{}: after step {} a weight is not finite; go on from the last checkpoint, "
           "where there is one, with a lower optimiser.learning_rate",
           folder_.string(), step_);
    }
    CheckpointContent content;
    content.step = step_;
    learner_->save(content);
    const auto text = [&](const char* name, const std::optional<std::string>& value) {
      if (value) content.files[name] = *value;
    };
    text("tokenizer.json", texts_.tokenizer_json);
    text("tokenizer_config.json", texts_.tokenizer_config);
    text("generation_config.json", texts_.generation_config);
    text("chat_template.jinja", texts_.chat_template);
    content.state["identity"] = identity_;
    content.state["config"] = to_json(config_);
    content.state["data"] = to_json(batch_source_->state());
    content.state["num_tokens"] = tokens_seen_;
    store_->save(content);
    saved_ = Clock::now();
  }

  ModelTexts make_texts(const ModelConfig& model) const {
    ModelTexts out;
    if (files_) out = folder_texts(*files_, *tokenizer_);
    out.tokenizer_json = tokenizer_->to_json();
    out.tokenizer_config = tokenizer_->to_config_json().dump(2) + "\n";
    if (!out.chat_template)
      out.chat_template = std::string(released_chat_template(ChatFormat::kK1));
    if (out.generation_config) return out;
    Json generation = generation_tokens(model);
    generation["do_sample"] = true, generation["temperature"] = 1.0, generation["top_p"] = 0.95;
    out.generation_config = generation.dump(2) + "\n";
    return out;
  }

  TrainConfig config_;
  Json model_json_, identity_;
  std::string source_name_;
  Path folder_, tokenizer_path_;
  std::optional<Path> init_;
  int64_t total_steps_;
  WsdSchedule schedule_;
  std::optional<CheckpointStore> store_;
  std::optional<Checkpoint> checkpoint_;  // What the run goes on from.
  Stream stream_;
  std::shared_ptr<const ModelFiles> files_;  // Null for a new model.
  std::optional<Tokenizer> tokenizer_;
  ModelTexts texts_;
  int32_t pad_ = 0;
  std::optional<BatchSource> batch_source_;
  std::vector<HeldoutSet> heldout_;
  std::optional<Learner> learner_;
  std::optional<MetricsLog> metrics_;
  std::vector<TrainBatch> micro_batches_;
  int64_t step_ = 0, tokens_seen_ = 0;
  Clock::time_point saved_;
};

}  // namespace

void run_training(const TrainConfig& config, const Json& model, const std::string& source) {
  const auto refuse = [&](const char* what) {
    fail(ErrorCode::kInvalidArgument, "{}: {}", source, what);
  };
  if (config.output.empty()) refuse("output is empty: name the folder of the run");
  if (config.init.empty() && !model.is_object())
    refuse("neither init nor model is given: name a model folder, or describe a new model");
  if (!config.init.empty() && !model.is_null())
    refuse("init and model are both given: a model that exists has its own architecture");
  if (config.init.empty() && config.tokenizer.empty())
    refuse("tokenizer is empty: a new model needs one (`dure tokenizer train`)");
  if (config.batch.micro_rows > 0 && config.batch.rows % config.batch.micro_rows != 0)
    refuse("batch.rows is no multiple of batch.micro_rows");
  if (config.stage == "sft") check_mixture(config.data.tasks, source + ": data.tasks");
  TrainRun(config, model, source).run();
}

}  // namespace dure
