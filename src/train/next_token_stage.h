// train/next_token_stage.h: pretraining and fine-tuning as the stage of a run: batches of documents
// whose next tokens are learnt.
//
// Owns what a run learns from, how it starts and goes on, and how long its epochs last. Not here:
// the order of a run (run.h), what a step computes of its batches (next_token_step.h), where data
// comes from (train_data.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tensor/cpu_stream.h"
#include "train/heldout.h"
#include "train/run.h"
#include "train/starting_model.h"
#include "train/trainer.h"

namespace dure {

class NextTokenStage : public Stage {
 public:
  // `model`: config.json fields of a new model (null with config.init); `source` names the
  // configuration in errors. Opens nothing.
  NextTokenStage(const TrainConfig& config, const Json& model, const std::string& source,
                 Mesh& mesh = Mesh::alone());

  // Steps until every source has had its epochs; absent where one never ends. What a checkpoint
  // says, where there is one that knows; else opens and reads all of the data, once. Before the
  // run.
  std::optional<int64_t> epoch_steps();

  Json identity() const override;
  void open(const Checkpoint* from) override;
  Learner& learner() override { return *learner_; }
  const ModelTexts& texts() const override { return start_->texts; }
  StepReport step(const StepContext& context) override;
  void add_heldout(Json& row) override;
  void save(Json& state) const override;

 private:
  TrainingFormat format() const;
  void open_start(const Path& checkpoint);
  bool is_sft() const { return config_.stage == TrainStage::kSft; }
  int64_t micro_rows() const;
  PackingOptions packing_options() const;
  double mtp_coefficient() const;
  LearnerOptions learner_options() const;
  void draw_micro_batches();

  TrainConfig config_;
  Json model_;
  std::string source_;
  Mesh& mesh_;
  Path init_;  // empty for a new model
  Path tokenizer_path_;
  CpuStream stream_;
  std::optional<StartingModel> start_;
  std::optional<BatchSource> batches_;
  std::optional<int64_t> epoch_steps_;
  std::vector<HeldoutSet> heldout_;
  std::optional<Learner> learner_;
  std::vector<TrainBatch> micro_batches_;
};

}  // namespace dure
