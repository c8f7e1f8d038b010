// What a preference run opens, computes once, draws for a step, and must keep.
#include "rl/preference_stage.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/rng.h"
#include "data/model_texts.h"
#include "data/permutation.h"
#include "formats/model_files.h"
#include "model/context_fit.h"
#include "model/load.h"
#include "rl/reference_log.h"
#include "train/run_identity.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

// Over what the model will see.
uint64_t hash_of(std::span<const TokenDocument* const> documents, const std::string& model) {
  uint64_t hash = xxh64(model);
  for (const TokenDocument* document : documents) {
    const auto* ids = reinterpret_cast<const char*>(document->ids.data());
    const auto* trained = reinterpret_cast<const char*>(document->trained.data());
    hash = xxh64({ids, document->ids.size() * sizeof(int32_t)}, hash + document->ids.size());
    hash = xxh64({trained, document->trained.size()}, hash);
  }
  return hash;
}

// The file that is furthest behind its share.
size_t next_file(const std::vector<PreferenceFile>& files, const std::vector<int64_t>& drawn) {
  size_t best = 0;
  double least = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    const double behind = static_cast<double>(drawn[i] + 1) / files[i].weight;
    if (i == 0 || behind < least) {
      best = i;
      least = behind;
    }
  }
  return best;
}

}  // namespace

PreferenceSet open_preferences(const PreferConfig& config, const ModelFiles& files) {
  const ModelConfig& model = files.config();
  const ChatTexts texts = load_chat_texts(files);
  const TrainingFormat format(texts.require_tokenizer(), texts.chat_template, texts.stops,
                              config.data.without_reasoning);
  const int64_t length = config.data.max_length > 0 ? config.data.max_length : model.context_tokens;
  warn_beyond_context(model, length, "data.max_length");
  return load_preferences(config.data, shape_of(config.objective.objective), length, format);
}

LearnerOptions preference_learner_options(const PreferConfig& config, const PreferenceSet& set) {
  const PreferenceShape shape = shape_of(config.objective.objective);
  int64_t rows = config.micro_rows_max;
  const auto look = [&](const std::vector<PreferenceItem>& items) {
    for (const PreferenceItem& item : items) rows = std::max(rows, unit_rows(shape, item));
  };
  for (const auto& file : set.files) look(file);
  look(set.heldout);
  LearnerOptions options = preference_learner_options(config.optimiser, rows);
  options.arithmetic = config.train.arithmetic;
  options.pass.adapter_rank = config.lora.rank;
  options.parts = config.parts;
  return options;
}

PreferenceCounts count_preferences(const PreferConfig& config, const PreferenceSet& set) {
  const PreferenceShape shape = shape_of(config.objective.objective);
  PreferenceCounts out;
  double step = 0, weights = 0;
  for (size_t i = 0; i < set.files.size(); ++i) {
    double rows = 0;
    for (const PreferenceItem& item : set.files[i]) {
      rows += static_cast<double>(unit_rows(shape, item));
      out.responses += std::ssize(item.responses) + 1;
    }
    const double weight = config.data.files[i].weight;
    if (!set.files[i].empty()) step += weight * rows / static_cast<double>(set.files[i].size());
    weights += weight;
  }
  for (const PreferenceItem& item : set.heldout) out.responses += std::ssize(item.responses) + 1;
  out.step_tokens =
      static_cast<int64_t>(static_cast<double>(config.items_per_step) * step / weights);
  return out;
}

PreferenceStage::PreferenceStage(const PreferConfig& config, Mesh& mesh)
    : config_(config), mesh_(mesh), init_(input_path(config.init)) {}

// Length, rates, beta and when to save may be changed when a run is continued; what its steps are
// made of may not.
Json PreferenceStage::identity() const {
  Json out = Json::object();
  out["seed"] = config_.seed;
  out["items_per_step"] = config_.items_per_step;
  Json data = to_json(config_.data), files = Json::array();
  for (const PreferenceFile& file : config_.data.files) {
    Json entry = Json::object();
    entry["weight"] = file.weight;
    entry["content"] = content_hash(file.path, "");
    files.push_back(std::move(entry));
  }
  data["files"] = std::move(files);
  out["data"] = std::move(data);
  out["objective"] = name_of(config_.objective.objective);
  out["optimiser.kind"] = name_of(config_.optimiser.kind);
  add_identity(config_.train, out);
  add_identity(config_.lora, out);
  out["init content"] = content_hash(init_, "model.safetensors");
  return out;
}

void PreferenceStage::open(const Checkpoint* from) {
  // A checkpoint holds the whole model, or an adapter to what the run started from.
  const bool adapted = config_.lora.wanted();
  files_ = std::make_shared<ModelFiles>(from == nullptr || adapted ? init_ : from->path());
  folder_texts_ = folder_texts(*files_, load_chat_texts(*files_).require_tokenizer());
  set_ = open_preferences(config_, *files_);
  if (config_.record.eval_steps > 0 && set_.heldout.empty())
    log_warn(
        "record.eval_steps is {}, but no prompt is held out (data.heldout_fraction {}): nothing "
        "will be measured",
        config_.record.eval_steps, config_.data.heldout_fraction);
  check_experts_over_ranks(files_->config(), mesh_.shape(), config_.output);
  drawn_.assign(set_.files.size(), 0);
  LearnerOptions options = preference_learner_options(config_, set_);
  options.stage_layers =
      stage_layers(config_.ranks, files_->config(), /*mtp=*/false, config_.output);
  step_options_ = {.objective = config_.objective, .rows_max = options.pass.rows_max};
  open_learner({.lora = config_.lora,
                .config = files_->config(),
                .files = files_,
                .init = config_.init,
                .source = config_.output,
                .seed = static_cast<uint64_t>(config_.seed),
                .checkpoint = from == nullptr ? Path() : from->path()},
               options, stream_, mesh_, learner_);
  if (from != nullptr) {
    const Json& drawn = from->state().at("drawn");
    for (size_t i = 0; i < drawn_.size(); ++i) drawn_[i] = drawn.at(i).as_int("drawn");
  }
  // Else every rank takes part in the passes that make them.
  if (!divided()) open_references(from);
}

void PreferenceStage::meet(const Checkpoint* from) {
  if (divided()) open_references(from);
}

// Every document, in the order of reference_logps.bin: by file, then the held-out ones.
std::vector<const TokenDocument*> PreferenceStage::documents() const {
  std::vector<const TokenDocument*> out;
  const auto add = [&](const std::vector<PreferenceItem>& items) {
    for (const PreferenceItem& item : items) {
      for (const TokenDocument& document : item.responses) out.push_back(&document);
      out.push_back(&item.mismatched);
    }
  };
  for (const auto& file : set_.files) add(file);
  add(set_.heldout);
  return out;
}

// Of what the run started from, the model and an adapter that was there: both may be gone.
std::string PreferenceStage::start_hash(const Checkpoint* from) const {
  const Json now = from == nullptr ? identity() : from->state().at("identity");
  std::string out = now.at("init content").dump();
  if (!config_.lora.from.empty()) out += now.at("lora.from content").dump();
  return out;
}

void PreferenceStage::open_references(const Checkpoint* from) {
  if (!needs_reference(config_.objective.objective)) return hand_out({});
  const std::vector<const TokenDocument*> all = documents();
  const Path file = Path(config_.output) / "reference_logps.bin";
  const uint64_t identity = hash_of(all, start_hash(from) + name_of(config_.train.arithmetic));
  std::optional<std::vector<double>> references =
      read_reference_log(file, identity, std::ssize(all));
  const bool together = divided();
  const bool make =
      together ? mesh_.world().any(!references, "a look at references") : !references.has_value();
  if (make) {
    references = compute_references(from, all);
    make_folders(config_.output);
    if (!together || mesh_.world().is_first()) write_reference_log(file, identity, *references);
  }
  hand_out(*references);
}

// Puts the first model's weights into the learner; that they are the run's own is known by its
// identity.
void PreferenceStage::load_start() {
  const auto require = [&](const Path& path, const char* what) {
    if (path_exists(path)) return;
    fail(ErrorCode::kNotFound,
         "{}: reference_logps.bin is missing or not of this run, and the {} it is made with ({}) "
         "is gone: bring one of them back",
         config_.output, what, path.string());
  };
  require(init_, "model");
  if (!config_.lora.from.empty()) {
    require(config_.lora.from, "adapter");
    learner_->adapter()->load(read_adapter_to_train(config_.lora, files_->config(), config_.output),
                              stream_);
  } else if (!config_.lora.wanted()) {  // A new adapter adds nothing.
    load_parameters(ModelFiles(init_), learner_->parameters(), stream_);
  }
  learner_->parameters_changed();
}

// With the first model's weights, which a run that goes on replaces by its own afterwards.
std::vector<double> PreferenceStage::compute_references(
    const Checkpoint* from, std::span<const TokenDocument* const> documents) {
  if (from != nullptr) {
    log_warn("{}: reference_logps.bin is missing or not of this run: made again", config_.output);
    load_start();
  }
  constexpr size_t kTogether = 256;
  std::optional<Progress> progress;
  if (!divided() || mesh_.world().is_first())
    progress.emplace("reference", std::ssize(documents), "responses");
  std::vector<double> out;
  while (out.size() < documents.size()) {
    const auto part =
        documents.subspan(out.size(), std::min(kTogether, documents.size() - out.size()));
    const std::vector<double> sums =
        response_sums(part, step_options_.rows_max, *learner_, stream_);
    out.insert(out.end(), sums.begin(), sums.end());
    if (progress) progress->update(std::ssize(out));
  }
  if (progress) progress->finish();
  return out;
}

void PreferenceStage::hand_out(const std::vector<double>& references) {
  size_t next = 0;
  const auto compared = [&](const std::vector<PreferenceItem>& items) {
    std::vector<ComparedItem> out;
    for (const PreferenceItem& item : items) {
      ComparedItem& one = out.emplace_back(&item);
      if (references.empty()) continue;
      const auto begin = references.begin() + static_cast<std::ptrdiff_t>(next);
      one.reference.assign(begin, begin + std::ssize(item.responses));
      next += item.responses.size();
      one.mismatched_reference = references[next++];
    }
    return out;
  };
  items_.clear();
  for (const auto& file : set_.files) items_.push_back(compared(file));
  heldout_ = compared(set_.heldout);
}

// Each file in an order of its own for each time through it.
std::vector<ComparedItem> PreferenceStage::draw() {
  std::vector<ComparedItem> out;
  for (int64_t i = 0; i < config_.items_per_step; ++i) {
    const size_t file = next_file(config_.data.files, drawn_);
    const int64_t count = std::ssize(items_[file]);
    const int64_t index = drawn_[file]++;
    const Permutation order(count, static_cast<uint64_t>(config_.seed),
                            stream_id("preferences", file, static_cast<uint64_t>(index / count)));
    out.push_back(items_[file][static_cast<size_t>(order.at(index % count))]);
  }
  return out;
}

StepReport PreferenceStage::step(const StepContext& context) {
  const std::vector<ComparedItem> items = draw();
  const PreferenceLearnt learnt =
      learn_from_preferences(items, step_options_, context, *learner_, stream_);
  StepReport report{.tokens = learnt.tokens};
  learnt.stats.add_to(report.row, "");
  report.row["grad_norm"] = learnt.updates.mean_gradient_norm();
  learnt.updates.add_router_load(learner_->config(), report.row);
  report.note = fmt::format("loss {:.3f}  margin {:.3f}  accuracy {:.2f}", learnt.stats.loss,
                            learnt.stats.margin, learnt.stats.accuracy);
  return report;
}

void PreferenceStage::add_heldout(Json& row) {
  const size_t count = std::min(heldout_.size(), static_cast<size_t>(config_.record.eval_items));
  if (count == 0) return;
  measure_preferences(std::span(heldout_).first(count), step_options_, *learner_, stream_)
      .add_to(row, "eval_");
}

void PreferenceStage::save(Json& state) const { state["drawn"] = Json::array_of(drawn_); }

}  // namespace dure
