// `dure rl CONFIG.yaml`: reinforcement learning with verifiable rewards.
#include <cstdio>
#include <memory>

#include "cli/args.h"
#include "cli/rank_facts.h"
#include "cli/verbs.h"
#include "rl/rl_trainer.h"

namespace dure {

std::function<int()> declare_rl(Args& args) {
  struct Given {
    std::string config;
    std::vector<std::string> settings;
    bool no_thinking = false;
    bool describe = false;
    bool filter_only = false;
  };
  auto given = std::make_shared<Given>();
  args.positional("CONFIG", given->config, "YAML file; see recipes/nano/rl.yaml",
                  /*required=*/false);
  args.options("--set", given->settings, "one field, as FIELD=VALUE; may be repeated");
  args.flag("--no-thinking", given->no_thinking,
            "answer without reasoning first (rollout.thinking=off)");
  args.flag("--filter-only", given->filter_only,
            "measure how often the model is right on each item (filter.samples), and stop there");
  args.flag("--fields", given->describe, "list every field with its default and meaning");
  args.examples(
      "  dure rl recipes/nano/rl.yaml\n"
      "  dure rl recipes/nano/rl.yaml --set objective.objective=grpo --set output=runs/grpo\n"
      "  dure rl recipes/own-task/rl.yaml     your own items and verifier (docs/verifiers.md)\n"
      "  dure rl recipes/own-task/rl.yaml --set filter.samples=8 --filter-only\n"
      "  dure rl --fields\n");
  return [given] {
    if (given->describe) {
      std::fputs(describe<RlConfig>().c_str(), stdout);
      return 0;
    }
    if (given->config.empty())
      fail(ErrorCode::kInvalidArgument, "name a configuration file, such as recipes/nano/rl.yaml");
    Json json = load_yaml(given->config);
    if (json.is_object() && json.find("stage") != nullptr) {
      fail(ErrorCode::kInvalidArgument, "{}: a configuration of `dure train`: it has a 'stage'",
           given->config);
    }
    if (given->no_thinking) set_path(json, "rollout.thinking=off");
    for (const std::string& setting : given->settings) set_path(json, setting);
    RlConfig config;
    blame_assignments(given->config, given->settings,
                      [&] { from_json(config, json, given->config); });
    run_in_ranks(config.ranks, given->config, rank_facts(json), [&](Group& group) {
      given->filter_only ? run_rl_filter(config, group) : run_rl(config, group);
    });
    return 0;
  };
}

}  // namespace dure
