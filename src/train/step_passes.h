// train/step_passes.h: the passes of a step on this rank: forward, backward, and when.
//
// One process takes a forward and its backward in turn; a stage of a pipeline goes ahead and
// exchanges rows with its neighbours (pipeline_schedule.h, stage_link.h). Backwards come in the
// order of the passes, part after part, everywhere. Not here: what a step learns and adds up
// (next_token_step.h), one pass (model/train_pass.h).
#pragma once

#include <functional>
#include <span>

#include "train/learner.h"

namespace dure {

struct StepPass {
  TrainInput input;  // no rows: nothing of this rank's own
  int64_t part = 0;  // of Learner::parts(); ascending over the passes
};

struct PassHooks {
  bool mtp = false;  // whether the options have an MTP loss
  // Asked when the pass is to go backward; where this rank has the head after its forward, and
  // pass().token_log_probabilities() may be called.
  std::function<LossOptions(size_t pass)> options;
  // The losses that are of this rank: of the head's stage all but the balance loss, which is the
  // first stage's.
  std::function<void(size_t pass, const LossResult& result)> done;
};

// All of a step's passes that are this rank's; gradients and counts add up in the learner.
void run_passes(std::span<const StepPass> passes, const PassHooks& hooks, Learner& learner);

// Forward alone, of rows. Whether this rank has the head, and with it the losses. `weights`: held
// as the learner's are, of another model.
bool forward_through(const TrainInput& input, Learner& learner);
bool forward_through(const ModelWeights& weights, const TrainInput& input, Learner& learner);

}  // namespace dure
