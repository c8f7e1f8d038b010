// The loop of every run, and the run folder.
#include "train/run.h"

#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "formats/adapter_files.h"
#include "formats/model_files.h"
#include "runs/run_registration.h"
#include "train/run_identity.h"

namespace dure {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// So that every verb that takes a model folder takes a checkpoint.
void add_texts(const ModelTexts& texts, CheckpointContent& content) {
  const auto add = [&](const char* name, const std::optional<std::string>& text) {
    if (text) content.files[name] = *text;
  };
  add("tokenizer.json", texts.tokenizer_json);
  add("tokenizer_config.json", texts.tokenizer_config);
  add("generation_config.json", texts.generation_config);
  add("chat_template.jinja", texts.chat_template);
  for (const auto& [name, text] : texts.more_templates)
    content.files["additional_chat_templates/" + name + ".jinja"] = text;
}

// What a finished run has left: its model, or its adapter.
std::optional<Path> result_of(const Path& folder) {
  for (const char* file : {"model/config.json", "adapter/adapter_config.json"}) {
    if (path_exists(folder / file)) return (folder / file).parent_path();
  }
  return std::nullopt;
}

Json best_json(int64_t step, double value) {
  Json out = Json::object();
  out["step"] = step;
  out["value"] = value;
  return out;
}

// Of the first rank, in one step.
void add_traffic(const Traffic& before, const Traffic& after, Json& row) {
  row["ranks/sent_bytes"] = after.sent_bytes - before.sent_bytes;
  row["ranks/received_bytes"] = after.received_bytes - before.received_bytes;
  row["ranks/wait_time"] = after.wait_s - before.wait_s;
}

// Where sums of gradients went over ranks at all.
void add_gradient_travel(const GradientTravel& before, const GradientTravel& after, Json& row) {
  const int64_t bytes = after.bytes - before.bytes;
  if (bytes == 0) return;
  row["ranks/gradients_hidden"] =
      static_cast<double>(after.hidden - before.hidden) / static_cast<double>(bytes);
}

void add_expert_rows(const ExpertRows& before, const ExpertRows& after, Json& row) {
  row["ranks/expert_rows_sent"] = after.sent - before.sent;
  row["ranks/expert_rows_received"] = after.received - before.received;
}

// Checkpoints do not depend on ranks.
Json without_ranks(const Json& config) {
  if (!config.is_object()) return config;
  Json out = Json::object();
  for (const auto& [name, value] : config.as_object("config"))
    if (name != "ranks") out[name] = value;
  return out;
}

}  // namespace

Run::Run(RunOptions options, Stage& stage, Mesh& mesh)
    : options_(std::move(options)),
      stage_(stage),
      mesh_(mesh),
      group_(mesh.world()),
      store_(options_.folder / "checkpoints", options_.keep_last, mesh.files()),
      identity_(stage.identity()) {
  if (const auto latest = store_.latest()) {
    checkpoint_.emplace(*latest);
    identity_ = require_same_run(*checkpoint_, identity_, options_.folder);
  } else if (const std::optional<Path> result = result_of(options_.folder)) {
    const std::string what = result->filename().string();
    fail(ErrorCode::kInvalidArgument,
         "{}: a run left its {} there ({}/), but no checkpoint to go on from: a new run would "
         "replace it; choose another output, or remove {}",
         options_.folder.string(), what, what, result->string());
  }
}

void Run::run() {
  if (is_finished()) return;
  open();
  if (!group_.is_first()) return take_steps();
  run_registered({options_.title, options_.folder, options_.config, options_.steps},
                 [this] { take_steps(); });
}

void Run::take_steps() {
  const InterruptScope scope;
  std::optional<Progress> progress;
  if (group_.is_first()) {
    progress.emplace(options_.title, options_.steps * options_.progress_per_step,
                     options_.progress_unit);
    progress->start_at(step_ * options_.progress_per_step);
  }
  std::string note;
  while (step_ < options_.steps) {
    const int64_t before = step_;
    try {
      note = one_step();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInterrupted) save_given_up(before);
      throw;
    }
    if (progress) progress->update(step_ * options_.progress_per_step, note);
    const Next now = next();
    if (now != Next::kGoOn) save();
    if (now == Next::kStop) {
      finish_saving();
      fail(ErrorCode::kInterrupted,
           "interrupted; the state is saved: run the same command to continue");
    }
  }
  finish_saving();
  if (progress) progress->finish(note);
  mesh_.set_place("the end of the run");
  group_.together("export of the model", [&] {
    if (group_.is_first()) stage_.learner().export_result(options_.folder, stage_.texts());
  });
}

// The step that was under way has changed nothing: what was there before it is kept. Where others
// are in the step, or its metrics were (held-out items), the last checkpoint stands.
void Run::save_given_up(int64_t steps_before) {
  finish_saving();
  const bool clean = step_ == steps_before && group_.size() == 1;
  const bool is_new = !store_.latest() || Checkpoint(*store_.latest()).step() < step_;
  if (clean && step_ > 0 && is_new) save();
  finish_saving();
  fail(ErrorCode::kInterrupted,
       "interrupted in step {}, which is given up{}: run the same command to continue", step_ + 1,
       step_ == 0 ? ""
       : clean    ? "; the state before it is saved"
                  : "; the last checkpoint stands");
}

// A signal to any rank stops all; clocks differ, so the first one's says when it is time.
Run::Next Run::next() const {
  const bool stop = interrupted() && step_ < options_.steps;
  std::array<int64_t, 2> votes{stop ? 1 : 0, group_.is_first() && is_due_to_save() ? 1 : 0};
  group_.all_reduce(std::span<int64_t>(votes), "end of the step");
  if (votes[0] > 0) return Next::kStop;
  return votes[1] > 0 ? Next::kSave : Next::kGoOn;
}

bool Run::is_finished() const {
  const std::optional<Path> result = result_of(options_.folder);
  if (!checkpoint_ || checkpoint_->step() < options_.steps || !result) return false;
  if (!group_.is_first()) return true;
  log_info("{}: done before ({} steps); the {} is in {}", options_.folder.string(),
           checkpoint_->step(), result->filename().string(), result->string());
  return true;
}

// The first rank first: what it makes of the inputs (ids of texts, a log of references) the others
// find.
void Run::open_stage() {
  const auto open = [&] { stage_.open(checkpoint_ ? &*checkpoint_ : nullptr); };
  mesh_.set_place("the beginning of the run");
  group_.together("opening the first rank's inputs", [&] {
    if (group_.is_first()) open();
  });
  group_.together("opening the inputs", [&] {
    if (!group_.is_first()) open();
  });
  stage_.meet(checkpoint_ ? &*checkpoint_ : nullptr);
}

void Run::open() {
  open_stage();
  if (checkpoint_) {
    stage_.learner().load(*checkpoint_);
    step_ = checkpoint_->step();
    // Absent where an older version's RL run saved it.
    const Json* tokens = checkpoint_->state().find("num_tokens");
    if (tokens != nullptr) tokens_ = tokens->as_int("num_tokens");
    if (const Json* best = checkpoint_->state().find("best")) {
      best_ = {.step = best->at("step").as_int("step"),
               .value = best->at("value").as_double("value")};
      store_.keep(best_->step);
    }
  }
  stage_.learner().set_before_moving([this] { finish_saving(); });
  saved_ = Clock::now();
  if (group_.is_first()) open_records();
}

void Run::open_records() {
  metrics_.emplace(options_.folder, step_, options_.tensorboard);
  write_file(options_.folder / "config.json", options_.config.dump(2) + "\n");
  if (checkpoint_) say_continuing();
}

void Run::say_continuing() const {
  const Json* then = checkpoint_->state().find("config");
  const std::string changed =
      then != nullptr ? changed_fields(*then, without_ranks(options_.config), options_.defaults)
                      : "";
  log_info("{}: continuing at step {} of {}{}", options_.folder.string(), step_, options_.steps,
           changed.empty() ? "" : "; changed: " + changed);
}

std::string Run::one_step() {
  const auto start = Clock::now();
  const double rate = options_.schedule.rate(step_);
  const Traffic before = mesh_.traffic();
  const ExpertRows rows_before = stage_.learner().exchanged_rows();
  const GradientTravel travel_before = stage_.learner().gradient_travel();
  mesh_.set_place(fmt::format("step {}", step_ + 1));
  StepReport report =
      stage_.step({.index = step_,
                   .learning_rate = rate,
                   .where = fmt::format("{}: step {}", options_.folder.string(), step_ + 1)});
  const double seconds = seconds_since(start);
  ++step_;
  tokens_ += report.tokens;
  report.row["learning_rate"] = rate;
  if (report.tokens > 0) report.row["num_tokens"] = tokens_;
  report.row["step_time"] = seconds;
  if (report.tokens > 0)
    report.row["tokens_per_second"] = static_cast<double>(report.tokens) / seconds;
  const int64_t every = options_.heldout_steps;
  if (every > 0 && (step_ % every == 0 || step_ == options_.steps)) {
    stage_.add_heldout(report.row);
    note_best(report.row);
  }
  if (group_.size() > 1) add_traffic(before, mesh_.traffic(), report.row);
  add_gradient_travel(travel_before, stage_.learner().gradient_travel(), report.row);
  if (mesh_.shape().expert > 1)
    add_expert_rows(rows_before, stage_.learner().exchanged_rows(), report.row);
  add_saving(report.row);
  if (metrics_) metrics_->write(step_, report.row);
  return report.note;
}

bool Run::is_due_to_save() const {
  const double minutes = options_.checkpoint_minutes;
  return best_is_new_ || step_ == options_.steps || step_ % options_.checkpoint_steps == 0 ||
         (minutes > 0 && seconds_since(saved_) >= 60 * minutes);
}

void Run::save() {
  finish_saving();
  const auto start = Clock::now();
  require_finite_weights();
  CheckpointContent content;
  content.step = step_;
  stage_.learner().save(content);
  add_texts(stage_.texts(), content);
  content.state["identity"] = identity_;
  content.state["config"] = without_ranks(options_.config);
  content.state["num_tokens"] = tokens_;
  if (best_) content.state["best"] = best_json(best_->step, best_->value);
  stage_.save(content.state);
  stage_.save_files(content.files);
  if (best_) store_.keep(best_->step);
  store_.save_beside(std::move(content));
  saving_.emplace();
  if (best_is_new_ && group_.is_first()) saving_->best = best_json(best_->step, best_->value);
  best_is_new_ = false;
  saved_ = Clock::now();
  saving_->pause_s = seconds_since(start);
}

void Run::finish_saving() {
  std::optional<Saving> saving = std::exchange(saving_, std::nullopt);
  if (!saving) return;
  const auto start = Clock::now();
  saving->write_s = store_.finish();
  if (!saving->best.is_null()) write_best(saving->best);
  saving->pause_s += seconds_since(start);
  saved_last_ = std::move(saving);
}

// The one that was committed in this step, begun at the end of the one before.
void Run::add_saving(Json& row) {
  if (!saved_last_) return;
  row["checkpoint/pause"] = saved_last_->pause_s;
  row["checkpoint/write_time"] = saved_last_->write_s;
  saved_last_.reset();
}

void Run::note_best(const Json& row) {
  const Json* value = options_.best_metric.empty() ? nullptr : row.find(options_.best_metric);
  if (value == nullptr || !value->is_number()) return;
  if (best_ && value->as_double() <= best_->value) return;
  best_ = {.step = step_, .value = value->as_double()};
  best_is_new_ = true;
}

void Run::write_best(const Json& best) const {
  Json out = best;
  out["metric"] = options_.best_metric;
  out["checkpoint"] = fmt::format("checkpoints/step-{:08d}", best.at("step").as_int("step"));
  write_file(options_.folder / "best.json", out.dump(2) + "\n");
}

// Weights that are not finite are not worth a checkpoint: the older ones must stay.
void Run::require_finite_weights() {
  if (!stage_.learner().weights_finite())
    fail_diverged(options_.folder.string(),
                  fmt::format("after step {} a weight is not finite", step_));
}

void require_init(const std::string& init, const LoraOptions& lora, const Path& folder) {
  const Path checkpoints = folder / "checkpoints";
  if (path_exists(checkpoints) && latest_checkpoint(checkpoints)) return;
  const Path model = find_model(init);
  if (!lora.from.empty())
    read_adapter_to_train(lora, ModelFiles(model, Extent::kHeader).config(), folder.string());
}

}  // namespace dure
