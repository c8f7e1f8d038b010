// rl/rl_step.h: a step of reinforcement learning once its rollouts are there: advantages over all
// of them, then updates over shares.
//
// Owns how rollouts become updates. Not here: sampling them (rollout.h), which of them count and
// how much (advantages.h), the loss of one response (objectives.h), one update (train/learner.h),
// what is written about a step (rl_stage.h).
#pragma once

#include <vector>

#include "rl/objectives.h"
#include "rl/response_batches.h"
#include "train/step.h"

namespace dure {

struct RlStepOptions {
  ObjectiveOptions objective;
  KlOptions kl;
  const ModelWeights* reference = nullptr;  // where kl.beta is above 0
  int64_t updates = 1;                      // at most as many as there are groups
  int64_t rows_max = 0;                     // of a forward and backward; each rollout fits
};

// What learns from rollouts: the router (matrix and bias) frozen, the MTP layer left out.
LearnerOptions rl_learner_options(const OptimiserOptions& optimiser, int64_t rows_max);

struct RlLearnt {
  ResponseWeights responses;
  double loss = 0, entropy_sum = 0;  // over all updates
  double reference_kl_sum = 0;       // the estimates, over tokens
  ObjectiveStats objective;
  StepUpdates updates;
};

// Which of them count, and how much. Dropped ones are in no group and no count.
ResponseWeights weigh_rollouts(const ObjectiveOptions& objective,
                               const std::vector<Rollout>& rollouts);

// `rollouts`: a group's together, numbered from 0. The updates are over equal shares of the groups,
// in order; a share in which nothing counts makes none. Advantages and scales are those of the
// whole step, a share's scales times the number of shares. Throws kDiverged where the loss or the
// gradient is not finite; updates before it stand.
RlLearnt learn_from_rollouts(const std::vector<Rollout>& rollouts, const RlStepOptions& options,
                             const StepContext& context, Learner& learner);

}  // namespace dure
