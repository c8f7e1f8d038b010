// rl/rl_stage.h: reinforcement learning as the stage of a run: rollouts, advantages, the weighted
// updates.
//
// Owns the engine that samples from the learner's own weights, or the sampler that does so from a
// copy while the learner learns (async_sampler.h), the items and their graders, and what is
// reported. Its state beside the learner's is the step, and batches that are sampled and not learnt
// from. Not here: the order of a run
// (train/run.h), what is learnt from rollouts (rl_step.h), what is written about them
// (rl_record.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rl/async_sampler.h"
#include "rl/quiet_steps.h"
#include "rl/reference_model.h"
#include "rl/rl_record.h"
#include "rl/rl_sizes.h"
#include "rl/rl_step.h"
#include "rl/rl_trainer.h"
#include "tensor/cpu_stream.h"
#include "train/gathered_weights.h"
#include "train/run.h"

namespace dure {

class RlStage : public Stage {
 public:
  // Opens nothing.
  explicit RlStage(const RlConfig& config, Mesh& mesh = Mesh::alone());

  Json identity() const override;
  void open(const Checkpoint* from) override;
  void meet(const Checkpoint* from) override;
  Learner& learner() override { return *learner_; }
  const ModelTexts& texts() const override { return folder_texts_; }
  StepReport step(const StepContext& context) override;
  // "eval_reward", and "eval_reward_NAME" of each source, on the items that are held out.
  void add_heldout(Json& row) override;
  void save_files(std::map<std::string, std::string>& files) override;

 private:
  void warn_of_no_heldout() const;
  void open_sampler(const Checkpoint* from);
  Generator& idle_generator();  // of the weights as they are, between two steps
  void open_reference();
  Json filter_settings() const;
  void filter_items(bool continued);
  PromptSource prompts() const;
  // What a step learns from.
  SampledBatch draw(int64_t step);
  // The weights that the generator samples from are the learner's.
  void gather();
  // Rollouts of a step, with those of further prompts where groups have nothing to teach.
  std::vector<Rollout> sample(int64_t step, Generator& generator,
                              const AsyncSampler::KeepOn& keep_on = nullptr) const;
  void note_entropy(const StepContext& context, const RlLearnt& learnt);
  void note_signal(const StepContext& context, const RlLearnt& learnt,
                   const std::vector<Rollout>& rollouts);
  StepReport report(const RolloutStats& stats, const RlLearnt& learnt, double rollout_s) const;

  RlConfig config_;
  Mesh& mesh_;
  Path init_;
  ThreadShares threads_;  // of which a run that takes turns has all
  CpuStream stream_;
  std::shared_ptr<const ModelFiles> files_;
  ChatTexts texts_;
  ModelTexts folder_texts_;  // what a checkpoint and the released model carry
  std::optional<Learner> learner_;
  std::optional<GatheredWeights> gathered_;  // where weights lie on several ranks
  bool gathered_stale_ = true;
  int64_t gathered_told_ = 0;                  // bytes that the metrics say already
  std::optional<Generator> generator_;         // null where a sampler has one
  std::unique_ptr<ReferenceModel> reference_;  // null: no KL term
  std::optional<SampleLog> samples_;
  std::unique_ptr<ItemPool> items_;  // null: generated problems alone
  LearnerOptions learner_options_;
  PromptRoom room_;                        // of prompts and answers, fixed when the run is opened
  int64_t steps_done_ = 0;                 // of this process
  int64_t steps_without_signal_ = 0;       // in a row, up to now
  QuietSteps quiet_;                       // what came of their answers
  int64_t steps_below_entropy_ = 0;        // of this process
  double wait_s_ = 0;                      // for the last batch
  std::unique_ptr<AsyncSampler> sampler_;  // null: sampling and learning take turns
};

}  // namespace dure
