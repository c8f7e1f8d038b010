// `dure train CONFIG.yaml`: pretraining and supervised fine-tuning.
#include <cstdio>
#include <memory>

#include "cli/args.h"
#include "cli/rank_facts.h"
#include "cli/verbs.h"
#include "formats/hf_field_help.h"
#include "train/trainer.h"

namespace dure {
namespace {

struct Given {
  std::string config;
  std::vector<std::string> settings;
  bool fields = false;
};

int run(const Given& given) {
  if (given.fields) {
    std::fputs(describe<TrainConfig>().c_str(), stdout);
    std::fputs("model: a new model as its config.json has it; not with init\n", stdout);
    std::fputs(describe_hf_fields("model.").c_str(), stdout);
    return 0;
  }
  if (given.config.empty())
    fail(ErrorCode::kInvalidArgument,
         "name a configuration file, such as recipes/nano/pretrain.yaml");
  Json json = load_yaml(given.config);
  for (const std::string& setting : given.settings) set_path(json, setting);
  Json plain = Json::object(), model;  // `model:` is a config.json, checked by its own reader.
  for (const auto& [key, value] : json.as_object(given.config))
    (key == "model" ? model : plain[key]) = value;
  TrainConfig config;
  blame_assignments(given.config, given.settings, [&] {
    from_json(config, plain, given.config);
    run_in_ranks(config.ranks, given.config, rank_facts(json),
                 [&](Group& group) { run_training(config, model, given.config, group); });
  });
  return 0;
}

}  // namespace

std::function<int()> declare_train(Args& args) {
  auto given = std::make_shared<Given>();
  args.positional("CONFIG", given->config, "YAML file; see recipes/nano", /*required=*/false);
  args.options("--set", given->settings, "one field, as FIELD=VALUE; may be repeated");
  args.flag("--fields", given->fields, "list every field with its default and meaning");
  args.examples(
      "  dure train recipes/nano/pretrain.yaml\n"
      "  dure train recipes/nano/sft.yaml --set init=runs/pretrain/model --set steps=200\n"
      "  dure train --fields\n");
  return [given] { return run(*given); };
}

}  // namespace dure
