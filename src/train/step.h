// train/step.h: what one step is made of, whatever its stage: its place in the run, its updates and
// what it reports.
//
// Owns the check of losses, the sums over a step's updates and the router's load as metrics. Not
// here: what a step computes (next_token_step.h, rl/rl_step.h), one update (learner.h), when
// steps are taken and saved (run.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "train/learner.h"

namespace dure {

struct StepContext {
  int64_t index = 0;  // steps done before this one
  double learning_rate = 0;
  std::string where;  // names the run and the step in errors
};

struct StepReport {
  Json row = Json::object();  // metrics by name (docs/training.md); the run adds its own
  std::string note;           // for the progress line
  int64_t tokens = 0;         // learnt from; 0: the stage does not count them
};

// Throws kDiverged: "WHERE: WHAT; go on from the last checkpoint, ...".
[[noreturn]] void fail_diverged(const std::string& where, const std::string& what);

// Throws kDiverged where `value` is not finite. `name`: "the loss". Before the update, so that
// nothing has moved.
void require_finite(double value, const char* name, const std::string& where);

// Sums over the updates of one step.
struct StepUpdates {
  int64_t count = 0;
  double gradient_norm_sum = 0;        // before clipping
  std::vector<int64_t> expert_counts;  // as LossResult has them; empty before an update

  // Moves the learner by what it has accumulated. Throws as Learner::update() does.
  void update(Learner& learner, const StepContext& context);

  double mean_gradient_norm() const;  // 0 where nothing was updated
  // "router/load_cv/LAYER" of each sparse layer, where there was an update. Returns the largest.
  double add_router_load(const ModelConfig& model, Json& row) const;
};

}  // namespace dure
