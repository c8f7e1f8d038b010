// Checks of an RL configuration, and its run.
#include "rl/rl_trainer.h"

#include <algorithm>

#include "base/error.h"
#include "rl/rl_stage.h"
#include "train/run.h"
#include "train/shards.h"

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
      .best_metric = config.checkpoint.keep_best && !config.items.empty() ? "eval_reward" : "",
      .heldout_steps = config.items.empty() ? 0 : config.heldout.every_steps,
  };
}

void check_without_items(const RlConfig& config) {
  if (config.tasks_weight == 0)
    fail(ErrorCode::kInvalidArgument, "tasks_weight is 0 and there are no items: nothing is asked");
  if (config.verifier.given())
    fail(ErrorCode::kInvalidArgument,
         "verifier: it grades items, and there are none: name a file under items (generated "
         "problems have their own verifier)");
  if (config.environment.given())
    fail(ErrorCode::kInvalidArgument,
         "environment: its conversations begin with items, and there are none: name a file under "
         "items");
  if (config.filter.samples > 0)
    fail(ErrorCode::kInvalidArgument, "filter: it chooses among items, and there are none");
}

void check_environments(const RlConfig& config) {
  if (config.environment.given()) make_environment(config.environment, "", "environment");
  if (config.environment.given() && config.verifier.given())
    fail(ErrorCode::kInvalidArgument,
         "give verifier or environment, or each source its own (items: grader, environment)");
  for (const ItemSourceOptions& source : config.items) {
    if (source.environment.given())
      make_environment(source.environment, "", "items " + source.file + ": environment");
  }
  const bool any = config.environment.given() ||
                   std::ranges::any_of(config.items, [](const ItemSourceOptions& source) {
                     return source.environment.given();
                   });
  if (any && config.ranks.count() > 1) {
    fail(ErrorCode::kUnsupported,
         "ranks has {} of them with an environment: episodes are played on one rank; leave ranks "
         "away",
         config.ranks.count());
  }
}

}  // namespace

void RlConfig::take_defaults(const Json& fields, const std::string&) {
  const Json* given = fields.find("items");
  const bool any = given != nullptr && given->size() > 0;
  tasks_weight = any && !fields.contains("tasks") ? 0 : 1;
}

void check_rl(const RlConfig& config) {
  if (config.init.empty())
    fail(ErrorCode::kInvalidArgument, "init is empty: name the model folder to start from");
  if (config.output.empty())
    fail(ErrorCode::kInvalidArgument, "output is empty: name the folder of the run");
  refuse_adapter_over_ranks(config.lora.wanted(), config.ranks.shape(), config.output);
  if (config.filter.samples > 0 && config.ranks.expert > 1)
    fail(ErrorCode::kUnsupported,
         "{}: ranks.expert is {} with filter.samples: items are filtered on one rank's weights; "
         "give "
         "its ranks to ranks.data",
         config.output, config.ranks.expert);
  check_parts(
      config.ranks.shape(), config.parts, config.output, "parts",
      fmt::format("set parts to {}, whatever the number of ranks", config.ranks.shape().batch()));
  if (config.items.empty() || config.tasks_weight > 0) check_mixture(config.tasks, "tasks");
  if (config.items.empty()) check_without_items(config);
  if (config.verifier.given()) make_verifier(config.verifier, "", "verifier");
  check_environments(config);
  if (config.rollout.refill_rounds > 0 && !config.objective.drop_zero_variance)
    fail(ErrorCode::kInvalidArgument,
         "rollout.refill_rounds: it draws further prompts for groups that are dropped, and "
         "objective.drop_zero_variance is false: none is");
}

void run_rl(const RlConfig& config, Group& group) {
  check_rl(config);
  const RunOptions options = run_options(config);
  require_init(config.init, options.folder);
  Mesh mesh(group, config.ranks.shape());
  RlStage stage(config, mesh);
  Run(options, stage, mesh).run();
}

void run_rl_filter(const RlConfig& config) {
  check_rl(config);
  if (config.filter.samples == 0)
    fail(ErrorCode::kInvalidArgument, "filter.samples is 0: say how many answers to each item");
  const RunOptions options = run_options(config);
  require_init(config.init, options.folder);
  RlStage stage(config);
  const Run run(options, stage);  // Only looks: whether the folder is free.
  stage.open(nullptr);
}

}  // namespace dure
