// RL runs whose sampling goes on beside learning: each batch with the weights that are promised,
// the same bits at any speed, after kills and at any thread count; what is refused.
#include <algorithm>

#include "base/testing.h"
#include "cli/memory_plan.h"
#include "program.h"
#include "tiny_rl.h"

namespace dure {
namespace {

class AsyncTest : public RlTest {
 protected:
  static void SetUpTestSuite() {
    RlTest::SetUpTestSuite();
    ASSERT_EQ(run_program(fmt::format("quantize '{}' '{}' Q8_0", at("sft/model").string(),
                                      at("q8.gguf").string()))
                  .code,
              0);
    std::string items;
    for (int i = 0; i < 40; ++i)
      items += fmt::format(R"({{"prompt":"which is larger, {} or {}?","answer":"{}"}})", i % 9,
                           i % 7, std::max(i % 9, i % 7)) +
               "\n";
    write_file(at("items.jsonl"), items);
  }
  static void TearDownTestSuite() { RlTest::TearDownTestSuite(); }
  void TestBody() override {}

  RlConfig async(const std::string& output, int64_t stale_steps) const {
    RlConfig c = rl(output);
    c.async.stale_steps = stale_steps;
    c.optimiser.learning_rate = 0.01;
    return c;
  }
  // Steps that move no weight.
  RlConfig still(RlConfig c) const {
    c.optimiser.learning_rate = 1e-30;
    c.items = {{.file = at("items.jsonl").string()}};
    c.items.front().grader.json = Json("exact");
    c.tasks_weight = 2;
    c.heldout = {.one_in = 4, .every_steps = 2, .items_max = 6};
    return c;
  }
  static std::vector<double> heldout_of(const std::string& output) {
    std::vector<double> out;
    for (const Json& row : read_metrics(at(output) / "metrics.jsonl"))
      if (const Json* value = row.find("eval_reward")) out.push_back(value->as_double());
    EXPECT_EQ(out.size(), 3u);
    return out;
  }
  static std::vector<int64_t> weights_steps(const std::string& output) {
    std::vector<int64_t> out;
    for (const Json& row : read_metrics(at(output) / "samples.jsonl"))
      out.push_back(row.at("weights_step").as_int("weights_step"));
    return out;
  }
};

// Where the weights stand still every batch is of the trainer's own bits, and the run is the one
// that takes turns.
TEST_F(AsyncTest, OnWeightsThatStandStillItIsTheSynchronousRun) {
  run_rl(still(rl("turns")));
  for (const int64_t stale : {1, 2, 4}) {
    const std::string name = fmt::format("still-{}", stale);
    run_rl(still(async(name, stale)));
    for (const char* column : {"sampler_mismatch_max", "clip_ratio"})
      EXPECT_EQ(column_of(name, column), std::vector<double>(6, 0.0)) << stale;
    EXPECT_EQ(column_of(name, "reward"), column_of("turns", "reward")) << stale;
    EXPECT_EQ(column_of(name, "grad_norm"), column_of("turns", "grad_norm")) << stale;
    EXPECT_EQ(heldout_of(name), heldout_of("turns")) << stale;
    EXPECT_TRUE(weights_of(name) == weights_of("turns"));
  }
}

TEST_F(AsyncTest, AnswersAreAsOldAsPromisedAndRecordedSo) {
  for (const int64_t stale : {1, 3}) {
    const std::string name = fmt::format("age-{}", stale);
    RlConfig c = async(name, stale);
    c.log_samples = 1;
    run_rl(c);
    std::vector<double> ages;
    std::vector<int64_t> weights;
    for (int64_t s = 0; s < c.steps; ++s) {
      weights.push_back(std::max<int64_t>(0, s - stale));
      ages.push_back(static_cast<double>(s - weights.back()));
    }
    EXPECT_EQ(column_of(name, "async/staleness"), ages);
    EXPECT_EQ(weights_steps(name), weights);
    // The first batch is of the weights that learn from it, to the bit.
    const std::vector<double> mismatch = column_of(name, "sampler_mismatch_max");
    EXPECT_EQ(mismatch.front(), 0.0);
    EXPECT_GT(std::ranges::max(mismatch), 0.0);
    for (const double wait : column_of(name, "async/wait_time")) EXPECT_GE(wait, 0.0);
  }
}

TEST_F(AsyncTest, SpeedAndThreadsChangeNothing) {
  run_rl(async("quick", 2));
  ::setenv("DURE_THREADS", "4", 1);
  RlConfig c = async("slow", 2);
  c.async.sampler_threads = 3;
  c.checkpoint.every_steps = 1;
  run_rl(c);
  ::unsetenv("DURE_THREADS");
  EXPECT_TRUE(weights_of("quick") == weights_of("slow"));
  EXPECT_EQ(read_file(at("quick/samples.jsonl")), read_file(at("slow/samples.jsonl")));
}

TEST_F(AsyncTest, KilledAnywhereNothingIsLost) {
  run_rl(async("whole", 2));
  Rng rng(static_cast<uint64_t>(::getpid()));
  for (int kills = 0; kills < 3; ++kills) {
    const size_t after = steps_written("cut") + static_cast<size_t>(rng.between(1, 2));
    RlConfig c = async("cut", 2);
    c.checkpoint.every_steps = rng.between(1, 2);
    do_apart([&] { run_rl(c); }, nullptr,
             [&](pid_t child) {
               while (steps_written("cut") < after && ::waitpid(child, nullptr, WNOHANG) == 0)
                 ::usleep(2000);
               ::usleep(static_cast<useconds_t>(rng.between(0, 20000)));
               ::kill(child, SIGKILL);
             });
  }
  EXPECT_EQ(do_apart([&] { run_rl(async("cut", 2)); }), 0);
  EXPECT_TRUE(weights_of("cut") == weights_of("whole")) << "seed " << ::getpid();
  EXPECT_EQ(column_of("cut", "reward"), column_of("whole", "reward"));
  EXPECT_EQ(column_of("cut", "async/staleness"), column_of("whole", "async/staleness"));
  EXPECT_EQ(read_file(at("cut/samples.jsonl")), read_file(at("whole/samples.jsonl")));
}

// Of an adapter the copy is its factors alone.
TEST_F(AsyncTest, WithAnAdapterToo) {
  const auto adapted = [&](const std::string& output) {
    RlConfig c = async(output, 1);
    c.init = at("q8.gguf").string();
    c.lora = {.rank = 4, .targets = {LoraTarget::kAttention, LoraTarget::kExperts}};
    c.kl = {.beta = 0.05};
    return c;
  };
  RlConfig c = adapted("lora-still");
  c.optimiser.learning_rate = 1e-30;
  run_rl(c);
  EXPECT_EQ(column_of("lora-still", "sampler_mismatch_max"), std::vector<double>(6, 0.0));
  run_rl(adapted("lora"));
  c = adapted("lora-cut");
  c.steps = 3;
  run_rl(c);
  run_rl(adapted("lora-cut"));
  const auto adapter = [&](const char* name) {
    return read_file(at(name) / "adapter" / "adapter_model.safetensors");
  };
  EXPECT_GT(std::ranges::max(column_of("lora", "sampler_mismatch_max")), 0.0);
  // Of a run that ended and is made longer the next answers are of its last weights.
  EXPECT_EQ(column_of("lora-cut", "async/staleness"), (std::vector<double>{0, 1, 1, 0, 1, 1}));
  EXPECT_TRUE(adapter("lora").size() == adapter("lora-cut").size());
  const auto files = std::make_shared<ModelFiles>(at("q8.gguf"));
  const AdapterSubject subject{adapter_layout(c.lora, files->config(), "test"),
                               open_weights_bytes(*files)};
  const PromptRoom room{.prompt_tokens_max = 32, .new_tokens_max = 24};
  c.async.stale_steps = 3;
  const RlPlan plan = plan_rl(files->config(), c, room, 1, &subject);
  EXPECT_EQ(plan.sampler_bytes, 3 * plan.learner.weight_bytes);
  c.async.stale_steps = 0;
  EXPECT_EQ(plan_rl(files->config(), c, room, 1, &subject).sampler_bytes, 0);
}

TEST_F(AsyncTest, WhatCannotBeIsOneLine) {
  const auto message = [](const RlConfig& config) -> std::string {
    try {
      run_rl(config);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  RlConfig c = async("never", 1);
  c.objective = ObjectiveOptions(Objective::kRloo);
  EXPECT_NE(message(c).find("objective rloo: it has no importance weights"), std::string::npos)
      << message(c);
  c = async("never", 1);
  c.ranks.data = c.parts = 2;
  EXPECT_NE(message(c).find("async.stale_steps is 1 and ranks are 2"), std::string::npos)
      << message(c);
  EXPECT_FALSE(path_exists(at("never")));
  c = async("kept", 1);
  c.steps = 2;
  run_rl(c);
  c.steps = 3;
  c.async.stale_steps = 2;
  EXPECT_NE(message(c).find("async.stale_steps"), std::string::npos) << message(c);
}

}  // namespace
}  // namespace dure
