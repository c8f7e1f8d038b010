// train/next_token_step.h: a step of next-token learning once its batches are drawn: losses over
// all of them, one update, what is reported.
//
// Owns how micro-batches become one step. Not here: where batches come from
// (next_token_stage.h), a micro-batch's losses (model/train_pass.h), one update (learner.h).
#pragma once

#include <span>

#include "data/packing.h"
#include "train/step.h"

namespace dure {

// Of the losses beside the next token's.
struct LossCoefficients {
  double mtp = 0, balance = 0;
};

// Means over the step's targets; the balance loss as it enters the objective.
struct StepLosses {
  double loss = 0, mtp = 0, balance = 0;
  int64_t tokens = 0, mtp_valid = 0;
};

// Adds the step's gradient: that of all batches as one, however they are split. A batch may be
// empty.
StepLosses accumulate_batches(std::span<const TrainBatch> batches,
                              const LossCoefficients& coefficients, Learner& learner);

// That, and the update. Throws kDiverged, with nothing moved, where a loss is not finite.
StepReport next_token_step(std::span<const TrainBatch> batches,
                           const LossCoefficients& coefficients, const StepContext& context,
                           Learner& learner);

}  // namespace dure
