// Checks of an RL configuration, and its run.
#include "rl/rl_trainer.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "rl/idle_settings.h"
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
      .defaults = to_json(RlConfig{}),
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

void check_async(const RlConfig& config) {
  if (config.async.stale_steps == 0) return;
  if (config.ranks.count() > 1)
    fail(ErrorCode::kUnsupported,
         "async.stale_steps is {} and ranks are {}: ranks sample and learn in turns; leave one of "
         "them away",
         config.async.stale_steps, config.ranks.count());
  if (config.objective.objective == Objective::kRloo)
    fail(ErrorCode::kInvalidArgument,
         "async.stale_steps is {} and objective rloo: it has no importance weights, so that its "
         "answers must be of the weights that learn from them; choose agapo, or another one",
         config.async.stale_steps);
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
}

// Bounds without a first pass bind nothing.
void check_filter(const PassRateOptions& filter) {
  const PassRateOptions plain;
  if (filter.samples > 0 || (filter.min == plain.min && filter.max == plain.max)) return;
  fail(ErrorCode::kInvalidArgument,
       "filter.min and filter.max are {} and {}, and filter.samples is 0: say how many answers a "
       "first pass asks of each item, or leave filter away",
       filter.min, filter.max);
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
  check_lora(config.lora, config.output);
  check_parts(
      config.ranks.shape(), config.parts, config.output, "parts",
      fmt::format("set parts to {}, whatever the number of ranks", config.ranks.shape().batch()));
  if (config.items.empty() || config.tasks_weight > 0) check_mixture(config.tasks, "tasks");
  if (config.items.empty()) check_without_items(config);
  if (config.verifier.given()) make_verifier(config.verifier, "", "verifier");
  check_environments(config);
  check_filter(config.filter);
  check_async(config);
  if (config.rollout.refill_rounds > 0 && !config.objective.drop_zero_variance)
    fail(ErrorCode::kInvalidArgument,
         "rollout.refill_rounds: it draws further prompts for groups that are dropped, and "
         "objective.drop_zero_variance is false: none is");
}

std::vector<std::string> idle_settings(const RlConfig& config) {
  using enum Objective;
  const Objective chosen = config.objective.objective;
  const std::string with = fmt::format("with objective {}", name_of(chosen));
  const bool weighted = chosen == kAgapo || chosen == kCispo;
  const bool clipped = !weighted && chosen != kRloo;
  RlConfig plain;
  plain.objective = ObjectiveOptions(chosen);
  return idle_settings(
      to_json(config), to_json(plain),
      {{"objective.epsilon", chosen == kRloo || chosen == kDrGrpo, with},
       {"objective.std", chosen != kAgapo, with},
       {"objective.ratio_max", !weighted, with},
       {"objective.clip_low", !clipped, with},
       {"objective.clip_high", !clipped, with},
       {"objective.length_constant", chosen != kDrGrpo, with},
       {"kl.estimator", config.kl.beta == 0, "while kl.beta is 0"},
       {"entropy.action", config.entropy.floor == 0, "while entropy.floor is 0"},
       {"reward.overlong_cache_tokens", config.reward.overlong == 0, "while reward.overlong is 0"},
       {"async.sampler_threads", config.async.stale_steps == 0, "while async.stale_steps is 0"}});
}

void run_rl(const RlConfig& config, Group& group) {
  check_rl(config);
  if (group.is_first())
    for (const std::string& line : idle_settings(config)) log_warn("{}", line);
  const RunOptions options = run_options(config);
  require_init(config.init, config.lora, options.folder);
  Mesh mesh(group, config.ranks.shape());
  RlStage stage(config, mesh);
  Run(options, stage, mesh).run();
}

void run_rl_filter(const RlConfig& config, Group& group) {
  check_rl(config);
  if (config.filter.samples == 0)
    fail(ErrorCode::kInvalidArgument, "filter.samples is 0: say how many answers to each item");
  const RunOptions options = run_options(config);
  require_init(config.init, config.lora, options.folder);
  Mesh mesh(group, config.ranks.shape());
  RlStage stage(config, mesh);
  const Run run(options, stage, mesh);  // Only looks: whether the folder is free.
  group.together("opening the inputs", [&] { stage.open(nullptr); });
  stage.meet(nullptr);
}

}  // namespace dure
