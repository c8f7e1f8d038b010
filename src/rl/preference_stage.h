// rl/preference_stage.h: preference learning as the stage of a run: the data and its order, the
// reference model's log-probabilities, a step, held-out measurements.
//
// open_preferences() and preference_learner_options() serve `dure plan` too. Its state beside the
// learner's is how many items of each file were drawn. Not here: the order of a run (train/run.h),
// what a step computes (preference_step.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/chat_texts.h"
#include "rl/prefer_trainer.h"
#include "rl/preference_step.h"
#include "tensor/cpu_stream.h"
#include "train/run.h"

namespace dure {

// The data of a run as its model's tokens. Logs and throws as load_preferences() does.
PreferenceSet open_preferences(const PreferConfig& config, const ModelFiles& files);

// What the run asks of the learner: a pass holds micro_rows_max tokens, or the longest pair.
LearnerOptions preference_learner_options(const PreferConfig& config, const PreferenceSet& set);

// What a step has on average, and the whole set, for plans.
struct PreferenceCounts {
  int64_t step_tokens = 0;  // of all that a step compares
  int64_t responses = 0;    // of all files, those of other prompts too
};
PreferenceCounts count_preferences(const PreferConfig& config, const PreferenceSet& set);

class PreferenceStage : public Stage {
 public:
  // Opens nothing.
  explicit PreferenceStage(const PreferConfig& config, Mesh& mesh = Mesh::alone());

  Json identity() const override;
  void open(const Checkpoint* from) override;
  void meet(const Checkpoint* from) override;
  Learner& learner() override { return *learner_; }
  const ModelTexts& texts() const override { return folder_texts_; }
  StepReport step(const StepContext& context) override;
  void add_heldout(Json& row) override;
  void save(Json& state) const override;

 private:
  // Whether every rank takes part in the passes that make references.
  bool divided() const { return mesh_.shape().expert * mesh_.shape().pipeline > 1; }
  std::string start_hash(const Checkpoint* from) const;
  void load_start();
  std::vector<const TokenDocument*> documents() const;
  void open_references(const Checkpoint* from);
  std::vector<double> compute_references(const Checkpoint* from,
                                         std::span<const TokenDocument* const> documents);
  void hand_out(const std::vector<double>& references);
  std::vector<ComparedItem> draw();

  PreferConfig config_;
  Mesh& mesh_;
  Path init_;
  CpuStream stream_;
  std::shared_ptr<const ModelFiles> files_;
  ModelTexts folder_texts_;  // what a checkpoint and the released model carry
  PreferenceSet set_;
  std::vector<std::vector<ComparedItem>> items_;  // to learn from, by file
  std::vector<ComparedItem> heldout_;
  std::vector<int64_t> drawn_;  // by file
  std::optional<Learner> learner_;
  PreferenceStepOptions step_options_;
};

}  // namespace dure
