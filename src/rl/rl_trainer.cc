// Checks of an RL configuration, and its run.
#include "rl/rl_trainer.h"

#include "base/error.h"
#include "rl/rl_stage.h"
#include "train/run.h"

namespace dure {
namespace {

RunOptions run_options(const RlConfig& config) {
  return {
      .title = "rl",
      .folder = config.output,
      .config = to_json(config),
      .steps = config.steps,
      .schedule = make_schedule(config.schedule, config.optimiser.learning_rate, config.steps),
      .checkpoint_steps = config.checkpoint.every_steps,
      .keep_last = config.checkpoint.keep_last,
  };
}

}  // namespace

void check_rl(const RlConfig& config) {
  if (config.init.empty())
    fail(ErrorCode::kInvalidArgument, "init is empty: name the model folder to start from");
  if (config.output.empty())
    fail(ErrorCode::kInvalidArgument, "output is empty: name the folder of the run");
  check_mixture(config.tasks, "tasks");
}

void run_rl(const RlConfig& config) {
  check_rl(config);
  const RunOptions options = run_options(config);
  require_init(config.init, options.folder);
  RlStage stage(config);
  Run(options, stage).run();
}

}  // namespace dure
