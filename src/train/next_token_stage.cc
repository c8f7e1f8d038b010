// What a run of pretraining or fine-tuning opens, draws for a step, and must keep.
#include "train/next_token_stage.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "model/context_fit.h"
#include "model/load.h"
#include "train/next_token_step.h"
#include "train/run_identity.h"
#include "train/stage_cut.h"
#include "train/train_data.h"

namespace dure {

namespace {

// By what they hold; names stand in metrics and in the order of draws alone.
Json corpora_identity(const std::vector<CorpusEntry>& entries) {
  Json out = Json::array();
  for (const CorpusEntry& entry : entries) {
    Json one = Json::object();
    one["weight"] = entry.weight;
    one["epochs"] = entry.epochs;
    one["part"] = name_of(entry.part);
    one["content"] = corpus_hash(entry.path);
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

NextTokenStage::NextTokenStage(const TrainConfig& config, const Json& model,
                               const std::string& source, Mesh& mesh)
    : config_(config),
      model_(model),
      source_(source),
      mesh_(mesh),
      init_(config.init.empty() ? Path() : input_path(config.init)),
      tokenizer_path_(config.tokenizer.empty() ? init_ : Path(config.tokenizer)) {}

// Length, rates, weights of losses and when to save may be changed when a run is continued, and
// where its inputs lie.
Json NextTokenStage::identity() const {
  const Json all = to_json(config_);
  Json out = Json::object();
  for (const char* name : {"stage", "seed"}) out[name] = all.at(name);
  Json data = Json::object();
  for (const auto& [name, value] : all.at("data").as_object()) {
    const bool of_corpora = name == "corpora" || name == "bad_rows";
    if (name != "corpus" && !of_corpora) data[name] = value;
  }
  if (!config_.data.corpora.empty()) data["corpora"] = corpora_identity(config_.data.corpora);
  out["data"] = data;
  out["batch.rows"] = config_.batch.rows;
  out["batch.tokens"] = config_.batch.tokens;
  out["optimiser.kind"] = name_of(config_.optimiser.kind);
  add_identity(config_.train, out);
  add_identity(config_.lora, out);
  out["model"] = model_;
  out["tokenizer content"] = content_hash(tokenizer_path_, "tokenizer.json");
  if (!init_.empty()) out["init content"] = content_hash(init_, "model.safetensors");
  if (!config_.data.corpus.empty()) out["corpus content"] = corpus_hash(config_.data.corpus);
  return out;
}

// `checkpoint`: where the run goes on; empty for a new one.
void NextTokenStage::open_start(const Path& checkpoint) {
  // A checkpoint holds the whole model, or an adapter to what the run started from.
  const bool adapted = config_.lora.wanted();
  if (adapted && init_.empty())
    fail(ErrorCode::kInvalidArgument, "{}: lora needs a model to add to: name it with init",
         source_);
  start_.emplace(checkpoint.empty() || adapted
                     ? open_starting_model(init_, tokenizer_path_, model_, source_)
                     : open_starting_model(checkpoint, checkpoint, Json(), source_));
}

TrainingFormat NextTokenStage::format() const {
  return TrainingFormat(start_->tokenizer, start_->chat_template, start_->ends,
                        config_.data.without_reasoning);
}

std::optional<int64_t> NextTokenStage::epoch_steps() {
  const auto& entries = config_.data.corpora;
  const bool ends =
      !entries.empty() && config_.data.tasks_weight == 0 &&
      std::ranges::all_of(entries, [](const CorpusEntry& entry) { return entry.epochs > 0; });
  if (!ends) return {};
  const Path folder = Path(config_.output) / "checkpoints";
  const std::optional<Path> last = path_exists(folder) ? latest_checkpoint(folder) : std::nullopt;
  if (last) {
    const Json state = Checkpoint(*last).state();
    const Json* known = state.find("epoch_steps");
    if (known != nullptr) return epoch_steps_ = known->as_int("epoch_steps");
  }
  open_start(last.value_or(Path()));
  const int64_t rows = count_rows(open_sources(config_, format(), source_), packing_options());
  return epoch_steps_ = (rows + config_.batch.rows - 1) / config_.batch.rows;
}

void NextTokenStage::open(const Checkpoint* from) {
  open_start(from == nullptr ? Path() : from->path());
  check_experts_over_ranks(start_->config, mesh_.shape(), source_);
  warn_beyond_context(start_->config, config_.batch.tokens, source_ + ": batch.tokens");
  batches_.emplace(open_sources(config_, format(), source_), packing_options());
  if (config_.record.eval_steps > 0) {
    heldout_ = open_heldout(config_, format());
    if (heldout_.empty() && mesh_.world().is_first()) {
      log_warn(
          "{}: record.eval_steps is {}, but {} holds nothing out for this stage: nothing will be "
          "measured (`dure data prepare --heldout-fraction`)",
          source_, config_.record.eval_steps,
          config_.data.corpus.empty() ? "data" : config_.data.corpus);
    }
  }
  open_learner({.lora = config_.lora,
                .config = start_->config,
                .files = start_->files,
                .init = config_.init,
                .source = source_,
                .seed = static_cast<uint64_t>(config_.seed),
                .checkpoint = from == nullptr ? Path() : from->path()},
               learner_options(), stream_, mesh_, learner_);
  if (from == nullptr) return;
  BatchState state;
  from_json(state, from->state().at("data"), from->path().string() + ": data");
  batches_->restore(state);
}

int64_t NextTokenStage::micro_rows() const { return config_.batch.rows_together(); }

PackingOptions NextTokenStage::packing_options() const {
  return {.packing = Packing::kBestFit,
          .row_count = micro_rows(),
          .row_tokens = config_.batch.tokens,
          .pad_id = start_->pad_id,
          .seed = static_cast<uint64_t>(config_.seed)};
}

// A model without the layer has no such loss.
double NextTokenStage::mtp_coefficient() const {
  return start_->config.mtp_layer_count > 0 ? config_.loss.mtp_coefficient : 0;
}

LearnerOptions NextTokenStage::learner_options() const {
  return {
      .optimiser = config_.optimiser,
      .pass = {.rows_max = micro_rows() * config_.batch.tokens,
               .recompute = config_.batch.recompute,
               .mtp = mtp_coefficient() > 0,
               .adapter_rank = config_.lora.rank},
      .router_bias_rate = config_.loss.router_bias_rate,
      .arithmetic = config_.train.arithmetic,
      .train_router = config_.loss.train_router,
      .parts = config_.batch.step_parts(),
      .stage_layers = stage_layers(config_.ranks, start_->config, mtp_coefficient() > 0, source_)};
}

StepReport NextTokenStage::step(const StepContext& context) {
  draw_micro_batches();
  StepReport report = next_token_step(
      micro_batches_, {.mtp = mtp_coefficient(), .balance = config_.loss.balance_coefficient},
      context, *learner_);
  if (is_sft()) report.row["dropped_documents"] = batches_->dropped_documents();
  if (!config_.data.corpora.empty()) add_source_counts(*batches_, report.row);
  return report;
}

void NextTokenStage::draw_micro_batches() {
  micro_batches_.resize(static_cast<size_t>(config_.batch.rows / micro_rows()));
  for (TrainBatch& batch : micro_batches_) {
    batches_->next(batch);
    drop_padding(batch, start_->pad_id);
  }
}

void NextTokenStage::add_heldout(Json& row) {
  measure_heldout(heldout_,
                  {.rows = config_.record.eval_rows,
                   .rows_together = micro_rows(),
                   .row_tokens = config_.batch.tokens,
                   .pad_id = start_->pad_id,
                   .bits_per_byte = !is_sft()},
                  start_->tokenizer, *learner_, row);
}

void NextTokenStage::save(Json& state) const {
  state["data"] = to_json(batches_->state());
  if (epoch_steps_) state["epoch_steps"] = *epoch_steps_;
}

}  // namespace dure
