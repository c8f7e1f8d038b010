// Whole runs that train an adapter: fine-tuning, RL and preferences on a base that stays as it is
// stored, kills and resuming to the same bits, the adapter used, merged and planned.
#include <cmath>
#include <cstring>

#include "base/testing.h"
#include "cli/memory_plan.h"
#include "comm/thread_transport.h"
#include "formats/adapter_files.h"
#include "formats/config_fixture.h"
#include "program.h"
#include "quantise/type_choice.h"
#include "rl/prefer_trainer.h"
#include "rl/reference_model.h"
#include "tensor/cpu_stream.h"
#include "tiny_rl.h"
#include "train/gathered_weights.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

class LoraTest : public RlTest {
 protected:
  static void SetUpTestSuite() {
    RlTest::SetUpTestSuite();
    const Outcome made = run_program(
        fmt::format("quantize '{}' '{}' Q8_0", at("sft/model").string(), at("q8.gguf").string()));
    ASSERT_EQ(made.code, 0) << made.error;
  }
  static void TearDownTestSuite() { RlTest::TearDownTestSuite(); }
  void TestBody() override {}

  static LoraOptions lora() {
    return {.rank = 4, .alpha = 8, .targets = {LoraTarget::kAttention, LoraTarget::kExperts}};
  }
  TrainConfig tune(const std::string& output, const std::string& init) const {
    TrainConfig c = tuning(output, init);
    c.data.tasks = tasks();
    c.steps = 8;
    c.lora = lora();
    c.optimiser.weight_decay = 0;
    return c;
  }
  // Goes on with the adapter that a run has left, in a folder of its own that may be taken away.
  TrainConfig tune_further(const std::string& output, const Path& from) const {
    TrainConfig c = tune(output, "q8.gguf");
    c.steps = 4;
    c.lora = further(from);
    return c;
  }
  static LoraOptions further(const Path& from) { return {.from = from.string(), .targets = {}}; }
  // A run of that name, once.
  Path tuned(const std::string& output) const {
    if (!path_exists(at(output) / "adapter")) run(tune(output, "q8.gguf"));
    return at(output) / "adapter";
  }
  static void write_pairs() {
    std::string pairs;
    for (int i = 0; i < 40; ++i)
      pairs +=
          fmt::format(R"({{"prompt":"many hands {}","chosen":"shares","rejected":"rests"}})", i) +
          "\n";
    write_file(at("pairs.jsonl"), pairs);
  }
  PreferConfig prefer(const std::string& output) const {
    PreferConfig c;
    c.init = at("q8.gguf").string();
    c.output = at(output).string();
    c.steps = 6;
    c.items_per_step = 8;
    c.micro_rows_max = 256;
    c.lora = lora();
    c.data.files = {{.path = at("pairs.jsonl").string()}};
    c.objective = PreferenceOptions(PreferenceObjective::kDpo);
    c.optimiser.learning_rate = 1e-2;
    c.schedule = {.warmup_steps = 1, .decay_fraction = 0};
    c.record = {.checkpoint_steps = 2};
    return c;
  }
  // Runs `act` in a process of its own that is killed after so many steps.
  void kill_after(const std::string& output, size_t steps, const std::function<void()>& act) const {
    do_apart(act, nullptr, [&](pid_t child) {
      while (steps_written(output) < steps && ::waitpid(child, nullptr, WNOHANG) == 0)
        ::usleep(2000);
      ::kill(child, SIGKILL);
    });
  }

  // Runs with(NAME, ranks) on one rank and on tables; every file of the last checkpoints and the
  // adapters are alike, and the columns.
  void expect_same_over_ranks(
      const std::string& name, std::initializer_list<MeshShape> tables,
      std::initializer_list<const char*> columns,
      const std::function<void(const std::string&, const MeshShape&)>& with) const {
    ::setenv("DURE_THREADS", "1", 1);
    with(name + "-1", {});
    const Path one = *latest_checkpoint(at(name + "-1/checkpoints"));
    for (const MeshShape& ranks : tables) {
      const std::string other =
          fmt::format("{}-{}x{}x{}", name, ranks.data, ranks.expert, ranks.pipeline);
      with(other, ranks);
      const Path there = *latest_checkpoint(at(other) / "checkpoints");
      for (const char* file :
           {"adapter_model.safetensors", "adapter_config.json", "optimiser.safetensors"})
        EXPECT_TRUE(read_file(one / file) == read_file(there / file)) << other << ": " << file;
      EXPECT_TRUE(adapter_of(other) == adapter_of(name + "-1")) << other;
      for (const char* column : columns)
        EXPECT_EQ(column_of(other, column), column_of(name + "-1", column)) << other << column;
    }
    ::unsetenv("DURE_THREADS");
  }

  std::string adapter_of(const std::string& output) const {
    return read_file(at(output) / "adapter" / "adapter_model.safetensors");
  }
};

TEST_F(LoraTest, FineTuningMovesTheAdapterAloneOnAnyBase) {
  for (const char* init : {"base/model", "q8.gguf"}) {
    const Path file =
        std::filesystem::is_directory(at(init)) ? at(init) / "model.safetensors" : at(init);
    const std::string before = read_file(file);
    const std::string output = std::string("tuned-") + (init[0] == 'q' ? "q8" : "f32");
    TrainConfig c = tune(output, init);
    c.steps = 14;
    run(c);
    EXPECT_TRUE(read_file(file) == before) << init;
    EXPECT_FALSE(path_exists(at(output) / "model"));
    const std::vector<double> losses = losses_of(output);
    EXPECT_LT(losses.back(), losses.front()) << init;
    const ModelFiles files(at(init), Extent::kHeader);
    const AdapterContent adapter = read_adapter(at(output) / "adapter", files.config());
    EXPECT_EQ(adapter.layout, adapter_layout(lora(), files.config(), "test"));
    double moved = 0;
    for (const AdapterFactors& factors : adapter.factors)
      for (const float value : factors.up) moved = std::max(moved, std::abs(double{value}));
    EXPECT_GT(moved, 0);
  }
}

TEST_F(LoraTest, KilledAnywhereItEndsInTheSameBits) {
  run(tune("whole", "q8.gguf"));
  Rng rng(static_cast<uint64_t>(::getpid()));
  for (int kills = 0; kills < 3; ++kills) {
    const size_t after = steps_written("cut") + static_cast<size_t>(rng.between(1, 3));
    TrainConfig c = tune("cut", "q8.gguf");
    c.record.checkpoint_steps = rng.between(1, 3);
    do_apart([&] { run(c); }, nullptr,
             [&](pid_t child) {
               while (steps_written("cut") < after && ::waitpid(child, nullptr, WNOHANG) == 0)
                 ::usleep(2000);
               ::usleep(static_cast<useconds_t>(rng.between(0, 10000)));
               ::kill(child, SIGKILL);
             });
  }
  run(tune("cut", "q8.gguf"));
  EXPECT_TRUE(adapter_of("cut") == adapter_of("whole")) << "seed " << ::getpid();
  // A checkpoint is an adapter too.
  const Path checkpoint = *latest_checkpoint(at("whole/checkpoints"));
  EXPECT_TRUE(is_adapter(checkpoint));
  EXPECT_TRUE(read_file(checkpoint / "adapter_model.safetensors") == adapter_of("whole"));
  TrainConfig other = tune("whole", "q8.gguf");
  other.steps = 9;
  other.lora.rank = 5;
  const auto [code, message] = error_of(other);
  EXPECT_EQ(code, ErrorCode::kInvalidArgument);
  EXPECT_NE(message.find("lora.rank"), std::string::npos) << message;
}

TEST_F(LoraTest, InRlTheSamplerIsTheTrainerToTheBit) {
  for (const char* init : {"sft/model", "q8.gguf"}) {
    const std::string output = std::string("rl-") + (init[0] == 'q' ? "q8" : "f32");
    RlConfig c = rl(output);
    c.init = at(init).string();
    c.lora = lora();
    c.lora.targets = {LoraTarget::kAttention, LoraTarget::kDense, LoraTarget::kShared,
                      LoraTarget::kExperts, LoraTarget::kHead};
    c.optimiser.learning_rate = 0.01;
    c.steps = 4;
    run_rl(c);
    for (const double mismatch : column_of(output, "sampler_mismatch_max"))
      EXPECT_EQ(mismatch, 0.0) << init;
    EXPECT_TRUE(is_adapter(at(output) / "adapter"));
  }
}

// The base is the reference: nothing is read a second time, and the distance begins at exactly 0.
TEST_F(LoraTest, TheDistanceInRlIsFromTheBaseItself) {
  for (const char* init : {"sft/model", "q8.gguf"}) {
    const std::string output = std::string("kl-") + (init[0] == 'q' ? "q8" : "f32");
    RlConfig c = rl(output);
    c.init = at(init).string();
    c.lora = lora();
    c.kl = {.beta = 0.1, .estimator = KlEstimator::kK3};
    c.optimiser.learning_rate = 0.01;
    c.steps = 4;
    run_rl(c);
    const std::vector<double> kl = column_of(output, "reference_kl");
    EXPECT_EQ(kl.front(), 0.0) << init;
    EXPECT_GT(kl.back(), 0.0) << init;
    const auto files = std::make_shared<ModelFiles>(at(init));
    const AdapterSubject subject{adapter_layout(c.lora, files->config(), "test"),
                                 open_weights_bytes(*files)};
    const PromptRoom room{.prompt_tokens_max = 32, .new_tokens_max = 24};
    EXPECT_EQ(plan_rl(files->config(), c, room, 1, &subject).reference_bytes, 0);
    EXPECT_GT(plan_rl(files->config(), c, room, 1).reference_bytes, 0);
  }
}

// Where it lies and in its stored types it gives the bits of a copy that is read into float32.
TEST_F(LoraTest, AReferenceInPlaceHasTheBitsOfACopy) {
  CpuStream stream(1);
  for (const char* init : {"sft/model", "q8.gguf"}) {
    const auto files = std::make_shared<ModelFiles>(at(init));
    const LearnerOptions options{.pass = {.rows_max = 64, .mtp = false}};
    Learner learner(start_adapter(lora(), files, Arithmetic::kExact, "", "test"), options, stream);
    learner.adapter()->initialise(1, stream);
    const ReferenceModel copy(at(init), learner, stream), base(learner, /*from=*/"", stream);
    EXPECT_EQ(base.weights().adapter, nullptr);
    const std::vector<int32_t> ids = {5, 9, 2, 7, 11, 30, 8}, targets = {9, 2, 7, 11, 30, 8, 5};
    const std::vector<int64_t> lengths = {7};
    const auto rows = [&](const ModelWeights& weights) {
      TrainPass& pass = learner.pass();
      pass.forward(weights, {.ids = ids, .targets = targets, .document_lengths = lengths}, stream);
      pass.token_log_probabilities(/*want_entropy=*/false, stream);
      return std::vector<float>(pass.log_probability().begin(), pass.log_probability().end());
    };
    EXPECT_EQ(rows(base.weights()), rows(copy.weights())) << init;
    EXPECT_EQ(rows(base.weights()), rows(learner.weights())) << init;
  }
}

TEST_F(LoraTest, PreferencesStartAtTheReferenceAndLearn) {
  write_pairs();
  run_prefer(prefer("prefer"));
  const std::vector<Json> rows = read_metrics(at("prefer/metrics.jsonl"));
  EXPECT_EQ(rows.front().at("rewards/margins").as_double(), 0.0);
  EXPECT_GT(rows.back().at("rewards/margins").as_double(), 0.0);
  EXPECT_TRUE(is_adapter(at("prefer") / "adapter"));
}

constexpr std::initializer_list<MeshShape> kTables = {
    {.data = 2},     {.expert = 2},
    {.pipeline = 2}, {.data = 2, .expert = 2},
    {.pipeline = 3}, {.expert = 2, .pipeline = 2},
};

// All that an adapter may add to, in four parts a step; the second time from a checkpoint.
TEST_F(LoraTest, FineTuningOverRanksHasTheSameBits) {
  for (const char* init : {"base/model", "q8.gguf"}) {
    expect_same_over_ranks(
        std::string("tune-") + (init[0] == 'q' ? "q8" : "f32"), kTables, {"loss", "grad_norm"},
        [&](const std::string& name, const MeshShape& ranks) {
          TrainConfig c = tune(name, init);
          c.batch = {.rows = 4, .tokens = 128, .micro_rows = 1, .recompute = init[0] == 'q'};
          c.lora.targets = {LoraTarget::kAttention, LoraTarget::kDense, LoraTarget::kShared,
                            LoraTarget::kExperts, LoraTarget::kHead};
          c.record = {.checkpoint_steps = 2, .eval_steps = 3, .eval_rows = 2};
          c.ranks = {.data = ranks.data, .expert = ranks.expert, .pipeline = ranks.pipeline};
          for (const int64_t steps : {2, 3}) {
            c.steps = steps;
            run_ranks(static_cast<int>(ranks.count()),
                      [&](Group& world) { run_training(c, Json(), "test.yaml", world); });
          }
        });
  }
}

TEST_F(LoraTest, RlOverRanksHasTheSameBits) {
  const auto with = [&](const std::string& name, const MeshShape& ranks) {
    RlConfig c = rl(name);
    c.init = at("q8.gguf").string();
    c.lora = lora();
    c.kl.beta = 0.05;
    c.steps = 3;
    c.micro_rows_max = 64;
    c.parts = 4;
    c.optimiser.learning_rate = 0.01;
    c.ranks = {.data = ranks.data, .expert = ranks.expert, .pipeline = ranks.pipeline};
    run_ranks(static_cast<int>(ranks.count()), [&](Group& world) { run_rl(c, world); });
    for (const double mismatch : column_of(name, "sampler_mismatch_max")) EXPECT_EQ(mismatch, 0.0);
    if (!GatheredWeights::needed(ranks)) return;
    const ModelConfig model = ModelFiles(at("q8.gguf"), Extent::kHeader).config();
    const int64_t told =
        told_elements(model, adapter_layout(lora(), model, "test"), ranks, {},
                      stage_layers({.pipeline = ranks.pipeline}, model, /*mtp=*/false, "test"));
    for (const double sent : column_of(name, "ranks/gathered_bytes"))
      EXPECT_EQ(sent, static_cast<double>(4 * told * (ranks.count() - 1))) << name;
  };
  expect_same_over_ranks("rl", kTables, {"reward", "loss", "grad_norm", "reference_kl"}, with);
}

TEST_F(LoraTest, PreferencesOverRanksHaveTheSameBits) {
  write_pairs();
  expect_same_over_ranks(
      "dpo", kTables, {"loss", "grad_norm", "rewards/margins"},
      [&](const std::string& name, const MeshShape& ranks) {
        PreferConfig c = prefer(name);
        c.steps = 3;
        c.micro_rows_max = 64;
        c.parts = 4;
        c.ranks = {.data = ranks.data, .expert = ranks.expert, .pipeline = ranks.pipeline};
        run_ranks(static_cast<int>(ranks.count()), [&](Group& world) { run_prefer(c, world); });
      });
}

// A rate that moves nothing leaves what the run began with, of either kind of file.
TEST_F(LoraTest, AnAdapterThatIsThereIsTrainedFurther) {
  const Path first = tuned("first");
  const Path gguf = at("first.gguf");
  ASSERT_EQ(run_program(fmt::format("convert '{}' '{}' --base '{}'", first.string(), gguf.string(),
                                    at("q8.gguf").string()))
                .code,
            0);
  for (const Path& from : {first, gguf}) {
    const std::string output = from == gguf ? "still-gguf" : "still";
    TrainConfig c = tune_further(output, from);
    c.steps = 1;
    c.optimiser.learning_rate = 1e-30;
    run(c);
    EXPECT_TRUE(adapter_of(output) == adapter_of("first")) << output;
    EXPECT_LT(losses_of(output).front(), losses_of("first").front());
  }
  run(tune_further("second", first));
  EXPECT_FALSE(adapter_of("second") == adapter_of("first"));
  EXPECT_LT(losses_of("second").back(), losses_of("first").front());
}

// Neither the adapter that a run began with nor its layout is needed again.
TEST_F(LoraTest, TrainedFurtherAndKilledItEndsInTheSameBits) {
  const Path first = tuned("first"), start = at("start");
  std::filesystem::copy(first, start);
  run(tune_further("further", start));
  TrainConfig c = tune_further("further-cut", start);
  c.record.checkpoint_steps = 1;
  kill_after("further-cut", 2, [&] { run(c); });
  std::filesystem::rename(start, at("start-away"));
  run(tune_further("further-cut", start));
  EXPECT_TRUE(adapter_of("further-cut") == adapter_of("further"));
  // Another adapter in its place is another run.
  TrainConfig other = tune_further("further", at("further") / "adapter");
  other.steps = 5;
  EXPECT_NE(error_of(other).second.find("another 'lora.from content'"), std::string::npos)
      << error_of(other).second;
}

// Fine-tuned, then compared or rewarded: what the run began with is the reference.
TEST_F(LoraTest, TheReferenceOfAnAdapterTrainedFurtherIsItsBeginning) {
  const Path first = tuned("first");
  RlConfig c = rl("further-kl");
  c.init = at("q8.gguf").string();
  c.lora = further(first);
  c.kl = {.beta = 0.1, .estimator = KlEstimator::kK3};
  c.optimiser.learning_rate = 0.01;
  c.steps = 3;
  run_rl(c);
  const std::vector<double> kl = column_of("further-kl", "reference_kl");
  EXPECT_EQ(kl.front(), 0.0);
  EXPECT_GT(kl.back(), 0.0);
  for (const double mismatch : column_of("further-kl", "sampler_mismatch_max"))
    EXPECT_EQ(mismatch, 0.0);
  const auto files = std::make_shared<ModelFiles>(at("q8.gguf"));
  const AdapterSubject subject{trained_layout(c.lora, files->config(), "test"),
                               open_weights_bytes(*files)};
  const PromptRoom room{.prompt_tokens_max = 32, .new_tokens_max = 24};
  EXPECT_EQ(plan_rl(files->config(), c, room, 1, &subject).reference_bytes,
            AdapterParameters::bytes(files->config(), subject.layout));
}

TEST_F(LoraTest, ReferencesOfAnAdapterTrainedFurtherAreMadeAgain) {
  const Path first = tuned("first"), start = at("prefer-start");
  std::filesystem::copy(first, start);
  write_pairs();
  PreferConfig c = prefer("further-pairs");
  c.lora = further(start);
  run_prefer(c);
  const std::vector<Json> rows = read_metrics(at("further-pairs/metrics.jsonl"));
  EXPECT_EQ(rows.front().at("rewards/margins").as_double(), 0.0);
  EXPECT_GT(rows.back().at("rewards/margins").as_double(), 0.0);
  PreferConfig cut = c;
  cut.output = at("further-pairs-cut").string();
  cut.record.checkpoint_steps = 1;
  kill_after("further-pairs-cut", 3, [&] { run_prefer(cut); });
  std::filesystem::remove(at("further-pairs-cut/reference_logps.bin"));
  std::filesystem::rename(start, at("prefer-start-away"));
  EXPECT_NE(message_of([&] { run_prefer(cut); }).find("the adapter it is made with"),
            std::string::npos);
  std::filesystem::rename(at("prefer-start-away"), start);
  run_prefer(cut);
  EXPECT_TRUE(adapter_of("further-pairs-cut") == adapter_of("further-pairs"));
}

TEST_F(LoraTest, AnAdapterThatDoesNotFitTheRecipeIsOneLine) {
  const Path first = tuned("first");
  const auto expect = [&](const LoraOptions& options, const std::string& init,
                          const std::string& message) {
    TrainConfig c = tune("never", init);
    c.lora = options;
    EXPECT_NE(error_of(c).second.find(message), std::string::npos)
        << message << "\n  in: " << error_of(c).second;
    EXPECT_FALSE(path_exists(at("never")));
  };
  LoraOptions options = further(first);
  options.rank = 5;
  expect(options, "q8.gguf",
         "lora.rank is 5, and the adapter that lora.from names has 4 at model.");
  options = further(first);
  options.alpha = 3;
  expect(options, "q8.gguf",
         "lora.alpha is 3, and the adapter that lora.from names has 8 at model.");
  options = further(first);
  options.rslora = true;
  expect(options, "q8.gguf", "lora.rslora is true");
  options = further(first);
  options.targets = {LoraTarget::kAttention};
  expect(
      options, "q8.gguf",
      "lora.targets is [attention], and the adapter that lora.from names has [attention, experts]");
  expect(further("/nowhere"), "q8.gguf", "/nowhere: there is no such adapter");
  expect(further(at("first")), "q8.gguf", "the folder of a run; its adapter is");
  expect(further(at("sft/model")), "q8.gguf", "no adapter_config.json");
  CpuStream stream(1);
  ModelConfig wide = ModelFiles(at("q8.gguf"), Extent::kHeader).config();
  wide.hidden_size *= 2;
  AdapterParameters values(wide, adapter_layout(lora(), wide, "test"));
  write_peft_adapter(at("wide"), wide, values.content(stream), {});
  expect(further(at("wide")), "q8.gguf", "the adapter was made for another base");
  TrainConfig c = config("new");
  c.lora = further(first);
  EXPECT_NE(error_of(c).second.find("lora needs a model to add to: name it with init"),
            std::string::npos);
  write_pairs();
  PreferConfig pairs = prefer("never");
  pairs.lora = further("/nowhere");
  EXPECT_NE(message_of([&] { run_prefer(pairs); }).find("/nowhere: there is no such adapter"),
            std::string::npos);
  RlConfig answers = rl("never");
  answers.lora = further("/nowhere");
  EXPECT_NE(message_of([&] { run_rl(answers); }).find("/nowhere: there is no such adapter"),
            std::string::npos);
}

// Unmerged, merged into either container, and as a GGUF adapter: one model.
TEST_F(LoraTest, AnAdapterIsUsedAndMergedByTheVerbs) {
  run(tune("used", "base/model"));
  const std::string model = at("base/model").string(), adapter = (at("used") / "adapter").string();
  const auto score = [&](const std::string& arguments) {
    const Outcome outcome =
        run_program("score " + arguments + " --ids - --json", {.input = "[[5,9,2,7,11,30,8]]"});
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    return parse_json(outcome.out, "score").at("nll").as_double();
  };
  const double plain = score(model), with = score(model + " --adapter " + adapter);
  EXPECT_GT(std::abs(plain - with), 1e-4);
  for (const char* out : {"merged", "merged.gguf"}) {
    const Outcome made = run_program(
        fmt::format("convert '{}' '{}' --adapter '{}'", model, at(out).string(), adapter));
    ASSERT_EQ(made.code, 0) << made.error;
    EXPECT_NEAR(score(at(out).string()), with, 1e-6 * with) << out;
  }
  // A narrower base that is merged into f32 is rounded once, not to its own type in between.
  const std::string narrow = at("narrow").string(), wide = at("widened").string();
  ASSERT_EQ(run_program(fmt::format("convert '{}' '{}' --type bf16", model, narrow)).code, 0);
  ASSERT_EQ(
      run_program(fmt::format("convert '{}' '{}' --adapter '{}' --type f32", narrow, wide, adapter))
          .code,
      0);
  const double narrow_with = score(narrow + " --adapter " + adapter);
  EXPECT_NEAR(score(wide), narrow_with, 1e-6 * narrow_with);
  const std::string gguf = at("lora.gguf").string();
  const Outcome turned =
      run_program(fmt::format("convert '{}' '{}' --base '{}'", adapter, gguf, model));
  EXPECT_EQ(turned.code, 0) << turned.error;
  EXPECT_NEAR(score(model + " --adapter " + gguf), with, 1e-9);
  expect_refusal(run_program(fmt::format("convert '{}' '{}'", adapter, at("x").string())),
                 "is an adapter: say to which model (--base)");
  const Outcome said = run_program("generate " + model + " --adapter " + adapter + " -p x -n 3");
  EXPECT_EQ(said.code, 0) << said.error;
  expect_refusal(run_program("generate " + model + " --adapter /nowhere -p x"),
                 "/nowhere: there is no such adapter");
  expect_refusal(run_program(fmt::format("convert '{}' '{}' --adapter '{}'", at("q8.gguf").string(),
                                         at("merged-q8.gguf").string(), adapter)),
                 "an adapter is merged into plain types: give --type");
}

TEST_F(LoraTest, WhatCannotBeIsOneLine) {
  TrainConfig c = config("new");
  c.lora = lora();
  EXPECT_NE(error_of(c).second.find("lora needs a model to add to: name it with init"),
            std::string::npos)
      << error_of(c).second;
  c = tune("dropout", "base/model");
  c.lora.dropout = 0.1;
  EXPECT_NE(error_of(c).second.find("lora: dropout is 0.1"), std::string::npos);
}

// The plan of a base that is there, and of the largest one, in Q4_K, which is not.
TEST_F(LoraTest, ThePlanCountsWhatTheLearnerHolds) {
  const auto files = std::make_shared<ModelFiles>(at("q8.gguf"));
  const AdapterLayout layout = adapter_layout(lora(), files->config(), "test");
  const LearnerOptions options{.pass = {.rows_max = 64}};
  const AdapterSubject subject{layout, open_weights_bytes(*files)};
  const TrainPlan plan = plan_training(files->config(), options, 1, &subject);
  EXPECT_EQ(plan.base_bytes + plan.base_copied_bytes, files->stored_bytes());
  EXPECT_EQ(plan.weight_bytes, AdapterParameters::bytes(files->config(), layout));
  CpuStream stream(1);
  Learner learner(start_adapter(lora(), files, Arithmetic::kExact, "", "test"), options, stream);
  int64_t moments = 0;
  for (const NamedTensor& moment : learner.optimiser().state()) moments += moment.view.bytes();
  EXPECT_NEAR(static_cast<double>(moments), static_cast<double>(plan.moment_bytes),
              0.01 * static_cast<double>(plan.moment_bytes));
}

// The 236B layout in Q4_K_M, rank 16, a row of 4,096 tokens: the sum of what is stored and trained.
TEST_F(LoraTest, ThePlanOfTheLargestModelIsArithmetic) {
  const ModelConfig config = k_exaone_236b();
  AdapterSubject subject;
  for (const TypeChoice& choice : choose_types(config, {.mixture = find_mixture("Q4_K_M")}))
    subject.base.mapped += choice.info.bytes();
  subject.layout = adapter_layout({.rank = 16}, config, "test");
  // q and o between 6,144 and 8,192, k and v between 6,144 and 1,024.
  const int64_t parameters = 48 * 16 * (2 * (6144 + 8192) + 2 * (6144 + 1024));
  EXPECT_EQ(adapter_parameters(subject.layout, config), parameters);
  const LearnerOptions options{.pass = {.rows_max = 4096, .recompute = true, .mtp = false}};
  const TrainPlan plan = plan_training(config, options, 1, &subject);
  EXPECT_EQ(plan.weight_bytes + plan.gradient_bytes + plan.moment_bytes, 4 * 4 * parameters);
  std::printf("236B in Q4_K_M, rank 16: base %.2f GB, adapter %.2f GB, activations %.2f GB\n",
              1e-9 * static_cast<double>(plan.base_bytes),
              1e-9 * static_cast<double>(4 * plan.weight_bytes),
              1e-9 * static_cast<double>(plan.activation_bytes));
}

}  // namespace
}  // namespace dure
