// `dure prefer CONFIG.yaml`: learning from preferences.
#include <cstdio>
#include <memory>

#include "cli/args.h"
#include "cli/rank_facts.h"
#include "cli/verbs.h"
#include "rl/prefer_trainer.h"

namespace dure {
namespace {

struct Given {
  std::string config;
  std::vector<std::string> settings;
  bool describe = false;
};

int run(const Given& given) {
  if (given.describe) {
    std::fputs(describe<PreferConfig>().c_str(), stdout);
    return 0;
  }
  if (given.config.empty())
    fail(ErrorCode::kInvalidArgument,
         "name a configuration file, such as recipes/nano/prefer.yaml");
  Json json = load_yaml(given.config);
  if (json.is_object() && json.find("stage") != nullptr)
    fail(ErrorCode::kInvalidArgument, "{}: a configuration of `dure train`: it has a 'stage'",
         given.config);
  if (json.is_object() && json.find("rollout") != nullptr)
    fail(ErrorCode::kInvalidArgument, "{}: a configuration of `dure rl`: it has a 'rollout'",
         given.config);
  for (const std::string& setting : given.settings) set_path(json, setting);
  PreferConfig config;
  blame_assignments(given.config, given.settings, [&] { from_json(config, json, given.config); });
  run_in_ranks(config.ranks, given.config, rank_facts(json),
               [&](Group& group) { run_prefer(config, group); });
  return 0;
}

}  // namespace

std::function<int()> declare_prefer(Args& args) {
  auto given = std::make_shared<Given>();
  args.positional("CONFIG", given->config, "YAML file; see recipes/nano/prefer.yaml",
                  /*required=*/false);
  args.options("--set", given->settings, "one field, as FIELD=VALUE; may be repeated");
  args.flag("--fields", given->describe, "list every field with its default and meaning");
  args.examples(
      "  dure prefer recipes/nano/prefer.yaml\n"
      "  dure prefer recipes/nano/prefer.yaml --set objective.objective=simper --set "
      "output=runs/simper\n"
      "  dure prefer --fields\n");
  return [given] { return run(*given); };
}

}  // namespace dure
