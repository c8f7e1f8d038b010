// `dure plan` as a user runs it: RL runs from their recipe, a context beyond the model's own, and
// folders that are no model's.
#include "base/json.h"
#include "tiny_model.h"

namespace dure {
namespace {

class PlanVerb : public TinyModel {
 protected:
  static std::string recipe(const std::string& rest) {
    const std::string path = at("rl.yaml");
    write_file(path, "init: " + at("model") + "\noutput: " + at("rl") + "\nsteps: 2\n" + rest);
    return path;
  }
  static Json plan_of(const std::string& arguments) {
    const Outcome outcome = run_program("plan " + arguments + " --json");
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    return parse_json(outcome.out, "dure plan");
  }
};

TEST_F(PlanVerb, RefusalsNameTheValueThatWasGiven) {
  for (const char* draft : {"-1", "65", "4294967297"}) {
    expect_refusal(run_program("plan " + at("model") + " --draft=" + draft),
                   std::string("--draft ") + draft + ": give 0 to 64");
  }
  expect_refusal(run_program("plan " + at("model") + " --context 0"), "--context is 0");
}

TEST_F(PlanVerb, OverRanks) {
  const std::string machine =
      " --train --tokens 64 --flops 1e9 --memory-rate 1e10 --bandwidth 1e9 --latency 1e-4";
  const Json two = plan_of(at("model") + machine + " --ranks data=2,expert=2");
  EXPECT_EQ(two.at("ranks").as_array().size(), 4);
  for (const Json& rank : two.at("ranks").as_array()) {
    int64_t sum = 0;
    for (const char* part : {"weight_bytes", "copy_bytes", "gradient_bytes", "optimiser_bytes",
                             "activation_bytes", "buffer_bytes"})
      sum += rank.at(part).as_int();
    EXPECT_EQ(rank.at("total_bytes").as_int(), sum);
    EXPECT_GT(rank.at("sent_bytes").at("experts").as_double(), 0);
  }
  EXPECT_EQ(plan_of(at("model") + machine + " --hosts 2").at("ranks").as_array().size(), 2);
  const Outcome text = run_program("plan " + at("model") + machine + " --ranks pipeline=2");
  for (const char* part : {"training over 2 ranks", "rows between stages", "pipeline's bubble",
                           "tokens a second", "hidden behind arithmetic"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << text.out << text.error;
}

TEST_F(PlanVerb, ServingOverRanks) {
  const std::string machine = " --flops 1e9 --memory-rate 1e10 --bandwidth 1e9 --latency 1e-4";
  const Json two = plan_of(at("model") + machine + " --ranks expert=2 --sequences 4");
  const Json &first = two.at("first_rank"), &other = two.at("other_rank");
  int64_t sum = 0;
  for (const char* part : {"mapped_bytes", "copied_bytes", "kv_sliding_bytes", "kv_global_bytes",
                           "table_bytes", "activation_bytes", "row_bytes"})
    sum += first.at(part).as_int();
  EXPECT_EQ(first.at("total_bytes").as_int(), sum);
  EXPECT_GT(first.at("kv_global_bytes").as_int(), 0);
  // Half of the experts each, and the first one has all the rest.
  const int64_t alone = plan_of(at("model")).at("mapped_bytes").as_int();
  EXPECT_EQ(first.at("mapped_bytes").as_int() + other.at("mapped_bytes").as_int(), alone);
  EXPECT_GT(other.at("mapped_bytes").as_int(), 0);
  EXPECT_GT(two.at("token").at("sent_bytes").as_double(),
            two.at("token").at("received_bytes").as_double());
  // Of hosts with room for all, one rank each is quickest: nothing travels.
  const Json hosts = plan_of(at("model") + machine + " --hosts 4");
  EXPECT_EQ(hosts.at("expert").as_int() * hosts.at("replicas").as_int(), 4);
  EXPECT_EQ(hosts.at("expert").as_int(), 1);
  const Outcome text = run_program("plan " + at("model") + machine + " --ranks expert=2");
  for (const char* part : {"serving over 2 ranks (expert=2)", "KV of sliding layers",
                           "each other rank needs", "waiting for the others", "tokens a second"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << text.out << text.error;
  // A configuration alone, as if it were quantised.
  write_file(at("config.json"), read_file(at("model") + "/config.json"));
  const auto typed = [&](const char* type) {
    return plan_of(at("config.json") + machine + " --ranks expert=2 --type " + type)
        .at("other_rank")
        .at("mapped_bytes")
        .as_int();
  };
  EXPECT_EQ(typed("BF16"), other.at("mapped_bytes").as_int());
  EXPECT_LT(typed("Q8_0"), typed("BF16"));
}

TEST_F(PlanVerb, RecipesOfRlAndOfPreferencesOverRanks) {
  const std::string machine = " --flops 1e9 --memory-rate 1e10 --bandwidth 1e9 --latency 1e-4";
  const std::string rl = recipe(
      "rollout: {prompts_per_step: 4, group_size: 8, new_tokens_max: 40}\nkl: {beta: 0.1}\nparts: "
      "2\n");
  const Json two = plan_of(rl + machine + " --ranks expert=2"), one = plan_of(rl);
  EXPECT_EQ(two.at("kind").as_string(), "RL over ranks");
  for (const Json& rank : two.at("ranks").as_array()) {
    EXPECT_EQ(rank.at("kv_bytes").as_int(), one.at("kv_bytes").as_int());
    EXPECT_EQ(rank.at("answer_bytes").as_int(), one.at("answer_bytes").as_int());
    EXPECT_LT(rank.at("reference_bytes").as_int(), one.at("reference_bytes").as_int());
    EXPECT_GT(rank.at("gathered_bytes").as_int(), 0);
    EXPECT_GT(rank.at("sent_bytes").at("gathered").as_double(), 0);
  }
  EXPECT_GT(two.at("seconds").at("sampling").as_double(), 0);
  // Stages sample too: a copy of each other's layers, and all of them see answers.
  const Json cut = plan_of(rl + machine + " --ranks pipeline=2");
  const auto& stages_of_rl = cut.at("ranks").as_array();
  int64_t gathered = 0, weights = 0;
  for (const Json& rank : stages_of_rl) {
    gathered += rank.at("gathered_bytes").as_int();
    weights += rank.at("weight_bytes").as_int();
    EXPECT_EQ(rank.at("kv_bytes").as_int(), one.at("kv_bytes").as_int());
    EXPECT_GT(rank.at("sent_bytes").at("gathered").as_double(), 0);
  }
  EXPECT_GT(gathered, 0);
  EXPECT_LE(gathered, weights);
  const std::string pairs = at("pairs.jsonl"), prefer = at("prefer.yaml");
  write_file(pairs, R"({"prompt": "the village", "chosen": "shares", "rejected": "works"})"
                    "\n"
                    R"({"prompt": "its work", "chosen": "shares", "rejected": "the village"})"
                    "\n");
  write_file(prefer, "init: " + at("model") + "\noutput: " + at("prefer") +
                         "\nparts: 2\ndata: {files: [{path: " + pairs +
                         "}], max_length: 64}\nobjective: {objective: dpo}\n");
  const Json stages = plan_of(prefer + machine + " --ranks pipeline=2");
  EXPECT_EQ(stages.at("kind").as_string(), "preferences over ranks");
  // Of both pairs three responses, the prompt's wrong one too.
  EXPECT_EQ(stages.at("ranks").at(0).at("answer_bytes").as_int(), 2 * 3 * 8);
}

// The base is cut as the weights would be, factors and their moments are the small rest.
TEST_F(PlanVerb, AdaptersOverRanks) {
  const std::string lora = " --train --tokens 64 --lora 4 --lora-targets attention,experts";
  const std::string machine = " --flops 1e9 --memory-rate 1e10 --bandwidth 1e9 --latency 1e-4";
  const Json one = plan_of(at("model") + lora);
  const auto sum = [&](const char* table, const char* field) {
    int64_t total = 0;
    const Json plan = plan_of(at("model") + lora + machine + " --ranks " + table);
    for (const Json& rank : plan.at("ranks").as_array()) total += rank.at(field).as_int();
    return total;
  };
  const int64_t base = one.at("base_bytes").as_int(), factors = one.at("weight_bytes").as_int();
  EXPECT_EQ(sum("data=2", "base_bytes"), 2 * base);
  EXPECT_EQ(sum("pipeline=2", "base_bytes"), base);
  EXPECT_LT(sum("expert=2", "base_bytes"), 2 * base);
  // Factors stand at places of 16 elements.
  EXPECT_NEAR(static_cast<double>(sum("data=2", "weight_bytes")), 2 * static_cast<double>(factors),
              0.05 * static_cast<double>(factors));
  EXPECT_NEAR(static_cast<double>(sum("data=2", "optimiser_bytes")),
              static_cast<double>(one.at("optimiser_bytes").as_int()),
              0.05 * static_cast<double>(factors));
  EXPECT_LT(sum("expert=2", "weight_bytes"), sum("data=2", "weight_bytes"));
}

TEST_F(PlanVerb, TablesThatDoNotFitAreRefused) {
  const std::string train = "plan " + at("model") + " --train ";
  expect_refusal(run_program(train + "--ranks data=2,tensor=2"), "--ranks 'data=2,tensor=2'");
  expect_refusal(run_program(train + "--ranks data"), "--ranks 'data'");
  expect_refusal(run_program(train + "--ranks data=0"), "--ranks 'data=0'");
  expect_refusal(run_program(train + "--ranks expert=7"), "ranks.expert is 7");
  expect_refusal(run_program(train + "--ranks pipeline=99"), "more stages than");
  expect_refusal(run_program(train + "--ranks data=2 --hosts 2"), "--ranks and --hosts");
  expect_refusal(run_program(train + "--flops 1e9"), "--flops needs --ranks or --hosts");
  expect_refusal(run_program(train + "--ranks data=2 --flops -1"), "--flops is -1");
  const std::string serve = "plan " + at("model") + " ";
  expect_refusal(run_program(serve + "--ranks data=2"), "shared by its experts alone");
  expect_refusal(run_program(serve + "--ranks expert=3"), "which 3 ranks cannot share evenly");
  expect_refusal(run_program(serve + "--ranks expert=2 --step-rows 4"),
                 "--step-rows has no effect");
  expect_refusal(run_program(serve + "--ranks expert=2 --tokens 1000000"), "--tokens is 1000000");
  expect_refusal(run_program(serve + "--hosts 2 --memory 1 --sequences 100000 --flops 1e9 "
                                     "--memory-rate 1e9"),
                 "--hosts 2: the model over so many ranks does not fit");
  expect_refusal(run_program(train + "--hosts 3 --memory 1 --tokens 2000000 --flops 1e9 "
                                     "--memory-rate 1e9"),
                 "--hosts 3: no table");
}

TEST_F(PlanVerb, RlFromItsRecipe) {
  const auto rollout = [](const char* sequences) {
    return recipe(std::string("rollout: {prompts_per_step: 4, group_size: 8, new_tokens_max: 40, "
                              "sequences_max: ") +
                  sequences + "}\n");
  };
  const Json few = plan_of(rollout("4")), many = plan_of(rollout("64"));
  EXPECT_EQ(few.at("kind").as_string(), "rl");
  EXPECT_EQ(few.at("sequences").as_int(), 4);
  EXPECT_EQ(many.at("sequences").as_int(), 32) << "no more than a step has";
  EXPECT_EQ(many.at("kv_bytes").as_int() / few.at("kv_bytes").as_int(), 8);
  EXPECT_EQ(few.at("context_tokens").as_int(), few.at("prompt_tokens").as_int() + 40);
  int64_t sum = 0;
  for (const char* part : {"weight_bytes", "gradient_bytes", "optimiser_bytes", "activation_bytes",
                           "kv_bytes", "generator_bytes", "answer_bytes"}) {
    EXPECT_GT(few.at(part).as_int(), 0) << part;
    sum += few.at(part).as_int();
  }
  EXPECT_EQ(few.at("total_bytes").as_int(), sum);
  const Outcome text = run_program("plan " + rollout("64"));
  for (const char* part : {"reinforcement learning", "32 answers together", "keys and values",
                           "log-probabilities", "this run", "fits"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << text.out;
}

TEST_F(PlanVerb, RlRecipesAreRefusedAsTheRunRefusesThem) {
  expect_refusal(run_program("plan " + recipe("rollout: {group_sise: 8}\n")), "group_size");
  expect_refusal(run_program("plan " + recipe("rollout: {new_tokens_max: 100000}\n")),
                 "rollout.new_tokens_max is 100000");
  write_file(at("rl.yaml"), "output: x\nrollout: {group_size: 8}\n");
  expect_refusal(run_program("plan " + at("rl.yaml")), "init is empty");
}

// The model's own limit and the machine's memory are two reasons.
TEST_F(PlanVerb, TheModelsOwnLimitEndsAContext) {
  const Json own = plan_of(at("model")), more = plan_of(at("model") + " --context 100000");
  EXPECT_EQ(own.at("largest_context_reason").as_string(), "model");
  EXPECT_EQ(own.at("largest_context_tokens").as_int(), own.at("context_tokens").as_int());
  EXPECT_EQ(more.at("context_tokens").as_int(), own.at("context_tokens").as_int());
  const Outcome text = run_program("plan " + at("model"));
  EXPECT_NE(text.out.find("the model's own limit; memory holds it"), std::string::npos);
  const Outcome said =
      run_program("plan " + at("model") + " --context 100000", {.environment = "DURE_LOG=warn"});
  EXPECT_NE(said.error.find("--context 100000: the model's own limit"), std::string::npos)
      << said.error;
  const std::string large = plan_of(at("model") + " --sequences 100000 --memory 1")
                                .at("largest_context_reason")
                                .as_string();
  EXPECT_EQ(large, "memory");
}

TEST_F(PlanVerb, FoldersThatAreNoModels) {
  const auto folder_with = [](const std::string& name) {
    const Path folder = at("with-" + name);
    make_folders(folder);
    std::filesystem::copy_file(Path(at("model")) / "config.json", folder / "config.json",
                               std::filesystem::copy_options::overwrite_existing);
    write_file(folder / name, "x");
    return folder.string();
  };
  expect_refusal(run_program("plan " + folder_with("pytorch_model.bin")), "PyTorch pickles");
  expect_refusal(run_program("plan " + folder_with("consolidated.00.pth")), "PyTorch pickles");
  expect_refusal(run_program("plan " + folder_with("m-00001-of-00002.safetensors")), "shards");
  expect_refusal(run_program("plan " + folder_with("other.gguf")), "GGUF");
  expect_refusal(run_program("plan " + folder_with("adapter_model.safetensors")), "adapter");
  const Json bare = plan_of(folder_with("README.md"));
  EXPECT_EQ(bare.at("kind").as_string(), "serving");
  make_folders(at("empty"));
  expect_refusal(run_program("plan " + at("empty")), "no config.json");
}

// Products are bounded by name; numbers below the bound come without memory for them.
TEST_F(PlanVerb, RowsOfAPassAndFlagsWithoutEffect) {
  const std::string train = "plan " + at("model") + " --train ";
  expect_refusal(run_program(train + "--rows 4000000000 --tokens 4000000000"), "--rows x --tokens");
  for (const char* more : {"", " --recompute"})
    EXPECT_EQ(run_program(train + "--rows 32768 --tokens 65536" + more).code, 0);
  expect_refusal(run_program("plan " + at("model") + " --rows 5"), "--rows has no effect");
  expect_refusal(run_program(train + "--context 5"), "--context has no effect");
  expect_refusal(run_program("plan " + at("model") + " --vocabulary 2147483648"), "to 2147483647");
}

}  // namespace
}  // namespace dure
