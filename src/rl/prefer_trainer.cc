// Checks of a preference configuration, and its run.
#include "rl/prefer_trainer.h"

#include "base/error.h"
#include "base/log.h"
#include "rl/idle_settings.h"
#include "rl/preference_stage.h"
#include "train/run.h"
#include "train/shards.h"

namespace dure {
namespace {

RunOptions run_options(const PreferConfig& config) {
  return {
      .title = "prefer",
      .folder = config.output,
      .config = to_json(config),
      .defaults = to_json(PreferConfig{}),
      .steps = config.steps,
      .schedule = make_schedule(config.schedule, config.optimiser.learning_rate, config.steps),
      .checkpoint_steps = config.record.checkpoint_steps,
      .checkpoint_minutes = config.record.checkpoint_minutes,
      .keep_last = config.record.keep_last,
      .heldout_steps = config.record.eval_steps,
      .tensorboard = config.record.tensorboard,
  };
}

// What stands beside the objective with its own defaults.
PreferConfig plain_of(const PreferConfig& config) {
  PreferConfig plain;
  plain.objective = PreferenceOptions(config.objective.objective);
  return plain;
}

}  // namespace

void check_prefer(const PreferConfig& config) {
  const auto refuse = [](const std::string& what) {
    fail(ErrorCode::kInvalidArgument, "{}", what);
  };
  if (config.init.empty()) refuse("init is empty: name the model folder to start from");
  if (config.output.empty()) refuse("output is empty: name the folder of the run");
  check_lora(config.lora, config.output);
  check_parts(
      config.ranks.shape(), config.parts, config.output, "parts",
      fmt::format("set parts to {}, whatever the number of ranks", config.ranks.shape().batch()));
  if (config.data.files.empty())
    refuse("data.files is empty: name JSONL files of preferences, as [{path: pairs.jsonl}]");
  for (const PreferenceFile& file : config.data.files) {
    if (file.path.empty()) refuse("data.files: a 'path' is empty: name a JSONL file");
  }
  if (config.data.without_reasoning == WithoutReasoning::kBoth)
    refuse("data.without_reasoning is both: a response is compared after one prompt; off or on");
  if (config.objective.rpo_alpha > 0 &&
      shape_of(config.objective.objective) != PreferenceShape::kPairs) {
    refuse(fmt::format("objective.rpo_alpha is {}: it is of pairs, {} has none; set it to 0",
                       config.objective.rpo_alpha, name_of(config.objective.objective)));
  }
  if (config.objective.rpo_alpha > 0 && config.objective.objective == PreferenceObjective::kOrpo)
    refuse("objective.rpo_alpha: orpo has this term already, of weight 1; set it to 0");
}

std::vector<std::string> idle_settings(const PreferConfig& config) {
  using enum PreferenceObjective;
  const PreferenceObjective chosen = config.objective.objective;
  const std::string with = fmt::format("with objective {}", name_of(chosen));
  return idle_settings(to_json(config), to_json(plain_of(config)),
                       {{"objective.beta", chosen == kSimper || chosen == kGrouper, with},
                        {"objective.simpo_gamma", chosen != kSimpo, with},
                        {"objective.desirable_weight", chosen != kKto, with},
                        {"objective.undesirable_weight", chosen != kKto, with}});
}

void run_prefer(const PreferConfig& config, Group& group) {
  check_prefer(config);
  if (group.is_first())
    for (const std::string& line : idle_settings(config)) log_warn("{}", line);
  const RunOptions options = run_options(config);
  require_init(config.init, config.lora, options.folder);
  Mesh mesh(group, config.ranks.shape());
  PreferenceStage stage(config, mesh);
  Run(options, stage, mesh).run();
}

}  // namespace dure
