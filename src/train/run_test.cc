// A toy stage drives a run through saves, deaths, interrupts and numbers that are not finite: what
// stands in the folder is what an unbroken run leaves.
#include "train/run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <limits>
#include <stdexcept>
#include <thread>

#include "base/interrupt.h"
#include "base/rng.h"
#include "base/testing.h"
#include "formats/config_fixture.h"
#include "kernels/optimiser.h"
#include "tensor/cpu_stream.h"
#include "train/run_identity.h"

namespace dure {
namespace {

constexpr int64_t kSteps = 12;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

ModelConfig toy_model() {
  ModelConfig c;
  c.vocab_size = 40;
  c.hidden_size = 16;
  c.head_count = 2;
  c.kv_head_count = 1;
  c.head_width = 8;
  const LayerFacts each{.dense_width = 16, .experts = {.count = 4, .per_token = 2, .width = 8}};
  c.layers = {sliding_layer(each, 4), sparse_layer(each)};
  return c;
}

// Where a stage goes wrong: steps done before it; -1: never.
struct Faults {
  int64_t die_before_update = -1, die_after_update = -1, interrupt = -1;
  int64_t nan_loss = -1, nan_weight = -1;
};

// Learns random ids that follow from the step and from a state of its own.
class ToyStage : public Stage {
 public:
  explicit ToyStage(const Faults& faults = {}, int64_t seed = 1) : faults_(faults), seed_(seed) {
    texts_.tokenizer_json = "{\"toy\": true}";
    texts_.chat_template = "{{ messages }}";
  }

  Json identity() const override {
    Json out = Json::object();
    out["seed"] = seed_;
    return out;
  }
  void open(const Checkpoint* from) override {
    ++opened;
    learner_.emplace(toy_model(), LearnerOptions{.pass = {.rows_max = 16, .mtp = false}}, stream_);
    if (from != nullptr)
      position_ = from->state().at("position").as_int();
    else
      learner_->parameters().initialise(static_cast<uint64_t>(seed_), stream_);
  }
  Learner& learner() override { return *learner_; }
  const ModelTexts& texts() const override { return texts_; }

  StepReport step(const StepContext& context) override {
    ++steps;
    const double loss =
        context.index == faults_.nan_loss ? std::nan("") : accumulate(context.index);
    if (context.index == faults_.die_before_update) throw std::runtime_error("died");
    require_finite(loss, "the loss", context.where);
    StepUpdates updates;
    updates.update(*learner_, context);
    if (context.index == faults_.die_after_update) throw std::runtime_error("died");
    if (context.index == faults_.interrupt) ::raise(SIGINT);
    if (context.index == faults_.nan_weight) learner_->parameters().flat().f32()[3] = kNan;
    StepReport report{.tokens = 8 + context.index};
    report.row["loss"] = loss;
    report.row["position"] = position_;
    report.row["grad_norm"] = updates.mean_gradient_norm();
    updates.add_router_load(learner_->config(), report.row);
    return report;
  }
  void add_heldout(Json& row) override { row["eval_loss"] = static_cast<double>(position_); }
  void save(Json& state) const override { state["position"] = position_; }

  double accumulate(int64_t index) {
    Rng rng(static_cast<uint64_t>(seed_), static_cast<uint64_t>(index));
    position_ += rng.between(1, 5);
    std::vector<int32_t> ids, targets;
    for (int64_t t = 0; t < 8; ++t) {
      ids.push_back(static_cast<int32_t>((position_ + rng.below(9)) % 40));
      targets.push_back((ids.back() + 1) % 40);
    }
    const std::vector<int64_t> lengths = {8};
    return learner_->accumulate({.ids = ids, .targets = targets, .document_lengths = lengths}, {})
        .loss_sum;
  }

  int opened = 0, steps = 0;

 private:
  Faults faults_;
  int64_t seed_;
  int64_t position_ = 0;
  CpuStream stream_;
  ModelTexts texts_;
  std::optional<Learner> learner_;
};

TEST(StepUpdates, AddUpOverAStep) {
  ToyStage stage;
  stage.open(nullptr);
  const ModelConfig& model = stage.learner().config();
  StepUpdates updates;
  Json row = Json::object();
  EXPECT_EQ(updates.add_router_load(model, row), 0);
  EXPECT_EQ(row.size(), 0u);
  EXPECT_EQ(updates.mean_gradient_norm(), 0);
  std::vector<int64_t> counts(stage.learner().expert_counts().size());
  double norms = 0;
  for (int64_t i = 0; i < 3; ++i) {
    stage.accumulate(i);
    for (size_t e = 0; e < counts.size(); ++e) counts[e] += stage.learner().expert_counts()[e];
    norms += stage.learner().optimiser().gradient_norm();
    updates.update(stage.learner(), {.learning_rate = 0.01, .where = "here"});
  }
  EXPECT_EQ(updates.count, 3);
  EXPECT_EQ(updates.expert_counts, counts);
  EXPECT_EQ(updates.mean_gradient_norm(), norms / 3);
  const double largest = updates.add_router_load(model, row);
  EXPECT_EQ(row.at("router/load_cv/1").as_double(), largest);
  EXPECT_EQ(row.size(), 1u);
}

TEST(StepUpdates, LossesMustBeFinite) {
  require_finite(-3, "the loss", "here");
  for (const double value : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    ErrorCode code{};
    const std::string message =
        message_of([&] { require_finite(value, "the MTP loss", "here: step 3"); }, &code);
    EXPECT_EQ(code, ErrorCode::kDiverged);
    EXPECT_EQ(message.find("here: step 3: the MTP loss is "), 0u) << message;
  }
}

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("DURE_PROGRESS", "off", 1);
    ::setenv("DURE_LOG", "error", 1);
  }

  Path at(const std::string& name) const { return folder_.path() / name; }
  RunOptions options(const std::string& name) const {
    Json config = Json::object();
    config["toy"] = true;
    return {.title = "toy",
            .folder = at(name),
            .config = config,
            .steps = kSteps,
            .schedule = make_schedule({.warmup_steps = 2}, 0.01, kSteps),
            .checkpoint_steps = 3,
            .heldout_steps = 5};
  }
  void run(const std::string& name, const Faults& faults = {}) const {
    ToyStage stage(faults);
    dure::Run(options(name), stage).run();
  }

  // Rows without what the clock says.
  std::vector<Json> rows(const std::string& name) const {
    std::vector<Json> out;
    for (const Json& row : read_metrics(at(name) / "metrics.jsonl")) {
      out.push_back(Json::object());
      for (const auto& [key, value] : row.as_object()) {
        const bool timed = key == "step_time" || key == "tokens_per_second";
        if (!timed && !key.starts_with("checkpoint/")) out.back()[key] = value;
      }
    }
    return out;
  }
  int64_t last_saved(const std::string& name) const {
    const auto latest = latest_checkpoint(at(name) / "checkpoints");
    return latest ? Checkpoint(*latest).step() : 0;
  }
  void expect_same(const std::string& a, const std::string& b) const {
    EXPECT_EQ(rows(a), rows(b)) << a;
    const Path model = Path("model") / "model.safetensors";
    EXPECT_TRUE(read_file(at(a) / model) == read_file(at(b) / model)) << a;
    const Path last = fmt::format("checkpoints/step-{:08}", kSteps);
    for (const char* file : {"model.safetensors", "optimiser.safetensors", "manifest.json"})
      EXPECT_TRUE(read_file(at(a) / last / file) == read_file(at(b) / last / file)) << a << file;
  }

  TemporaryFolder folder_;
};

TEST_F(RunTest, LeavesTheFolderThatIsDocumented) {
  run("a");
  const std::vector<Json> all = rows("a");
  ASSERT_EQ(all.size(), static_cast<size_t>(kSteps));
  int64_t tokens = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t step = static_cast<int64_t>(i) + 1;
    tokens += 8 + step - 1;
    EXPECT_EQ(all[i].at("step").as_int(), step);
    EXPECT_EQ(all[i].at("num_tokens").as_int(), tokens);
    EXPECT_TRUE(all[i].contains("learning_rate") && all[i].contains("router/load_cv/1"));
    EXPECT_FALSE(all[i].contains("router/load_cv/0"));  // A dense layer.
    EXPECT_EQ(all[i].contains("eval_loss"), step % 5 == 0 || step == kSteps) << step;
  }
  EXPECT_LT(all.back().at("loss").as_double(), all.front().at("loss").as_double());
  EXPECT_TRUE(load_json(at("a") / "config.json").at("toy").as_bool());
  const auto checkpoints = list_checkpoints(at("a") / "checkpoints");
  ASSERT_EQ(checkpoints.size(), 2u);
  EXPECT_EQ(checkpoints.front().first, 9);
  EXPECT_EQ(checkpoints.back().first, kSteps);
  for (const Path& folder : {checkpoints.back().second, at("a") / "model"}) {
    EXPECT_EQ(read_file(folder / "tokenizer.json"), "{\"toy\": true}");
    EXPECT_EQ(read_file(folder / "chat_template.jinja"), "{{ messages }}");
    EXPECT_EQ(ModelFiles(folder).config().vocab_size, 40);
  }
}

TEST_F(RunTest, DeadAtAnyStepItEndsInTheSameBits) {
  run("whole");
  for (const int64_t step : {0, 1, 2, 3, 11}) {  // A checkpoint follows 2 and 11.
    for (const bool after : {false, true}) {
      const std::string name = fmt::format("{}-{}", after ? "after" : "before", step);
      Faults faults;
      (after ? faults.die_after_update : faults.die_before_update) = step;
      EXPECT_THROW(run(name, faults), std::runtime_error);
      EXPECT_EQ(last_saved(name), step / 3 * 3);
      EXPECT_FALSE(path_exists(at(name) / "model"));
      run(name);
      expect_same(name, "whole");
    }
  }
}

TEST_F(RunTest, AnInterruptFinishesTheStepAndSavesFirst) {
  run("whole");
  EXPECT_EXIT(
      {
        install_interrupt_handler();
        ErrorCode code{};
        const std::string message = message_of([&] { run("b", {.interrupt = 4}); }, &code);
        ::_exit(code == ErrorCode::kInterrupted && message.find("is saved") != std::string::npos
                    ? 130
                    : 1);
      },
      testing::ExitedWithCode(130), "");
  EXPECT_EQ(last_saved("b"), 5);
  EXPECT_EQ(rows("b").size(), 5u);
  run("b");
  // Its checkpoints were others on the way; the last is the same.
  expect_same("b", "whole");
}

TEST_F(RunTest, AnInterruptInTheLastStepLeavesAFinishedRun) {
  run("whole");
  EXPECT_EXIT(
      {
        install_interrupt_handler();
        run("last", {.interrupt = kSteps - 1});
        ::_exit(0);
      },
      testing::ExitedWithCode(0), "");
  expect_same("last", "whole");
}

TEST_F(RunTest, ALossThatIsNotFiniteEndsTheRunAndKeepsTheCheckpoint) {
  run("whole");
  ErrorCode code{};
  const std::string message = message_of([&] { run("n", {.nan_loss = 7}); }, &code);
  EXPECT_EQ(code, ErrorCode::kDiverged);
  EXPECT_NE(message.find("step 8: the loss is nan"), std::string::npos) << message;
  EXPECT_EQ(last_saved("n"), 6);
  EXPECT_EQ(rows("n").size(), 7u);
  run("n");
  expect_same("n", "whole");
}

TEST_F(RunTest, WeightsThatAreNotFiniteAreNeverSaved) {
  run("whole");
  ErrorCode code{};
  // In the step that would be saved: the next one's loss cannot tell.
  const std::string message = message_of([&] { run("w", {.nan_weight = 5}); }, &code);
  EXPECT_EQ(code, ErrorCode::kDiverged);
  EXPECT_NE(message.find("after step 6 a weight is not finite"), std::string::npos) << message;
  EXPECT_EQ(last_saved("w"), 3);
  run("w");
  expect_same("w", "whole");
}

TEST_F(RunTest, AFinishedRunIsLeftAndALongerOneGoesOn) {
  run("f");
  ToyStage again;
  dure::Run(options("f"), again).run();
  EXPECT_EQ(again.opened, 0);
  ToyStage longer;
  RunOptions more = options("f");
  more.steps = kSteps + 2;
  dure::Run(more, longer).run();
  EXPECT_EQ(longer.steps, 2);
  EXPECT_EQ(rows("f").size(), static_cast<size_t>(kSteps) + 2);
}

TEST_F(RunTest, AFinishedRunWithoutItsModelLeavesOneAgain) {
  run("f");
  const std::string weights = read_file(at("f") / "model" / "model.safetensors");
  std::filesystem::remove_all(at("f") / "model");
  ToyStage again;
  dure::Run(options("f"), again).run();
  EXPECT_EQ(again.steps, 0);
  EXPECT_TRUE(read_file(at("f") / "model" / "model.safetensors") == weights);
}

TEST_F(RunTest, AnotherRunIsRefusedBeforeAnythingIsOpened) {
  run("r");
  ToyStage other({}, 2);
  const std::string message = message_of([&] { dure::Run(options("r"), other).run(); });
  EXPECT_NE(message.find("another 'seed' (1 there, 2 here)"), std::string::npos) << message;
  EXPECT_EQ(other.opened, 0);
  ToyStage first, second;
  const dure::Run holder(options("s"), first);
  EXPECT_NE(message_of([&] { dure::Run(options("s"), second); }).find("another process"),
            std::string::npos);
}

TEST(RunIdentity, ChangedFieldsAreNamedInALine) {
  const Json then = parse_json(R"({"steps":20,"loss":{"a":1,"b":[1]},"gone":1})", "then");
  const Json now = parse_json(R"({"steps":30,"loss":{"a":1,"b":[2],"new":3},"set":"x"})", "now");
  const Json defaults = parse_json(R"({"steps":1,"loss":{"new":3},"set":""})", "defaults");
  EXPECT_EQ(changed_fields(then, now, defaults),
            "loss.b [1] -> [2], set \"\" -> \"x\", steps 20 -> 30");
  EXPECT_EQ(changed_fields(then, then, defaults), "");
}

TEST(RunIdentity, ACorpusIsWhatItHolds) {
  const TemporaryFolder folder;
  const auto corpus = [&](const char* name, const std::string& lines) {
    make_folders(folder.path() / name);
    write_file(folder.path() / name / "train.jsonl", lines);
    write_file(folder.path() / name / "manifest.json",
               R"({"format":"dure-corpus","version":1,"files":{"train.jsonl":{}}})");
    return corpus_hash(folder.path() / name);
  };
  const Json a = corpus("a", "{\"text\":\"x\",\"source\":\"p:1\"}\n");
  EXPECT_EQ(corpus("b", "{\"text\":\"x\",\"source\":\"elsewhere/q:1\"}\n"), a);
  EXPECT_FALSE(corpus("c", "{\"text\":\"y\",\"source\":\"p:1\"}\n") == a);
  EXPECT_TRUE(corpus_hash(folder.path() / "nowhere").is_null());
}

TEST_F(RunTest, MinutesSaveBesideSteps) {
  RunOptions often = options("m");
  often.checkpoint_steps = 100;
  often.checkpoint_minutes = 1e-9;
  ToyStage stage({.die_before_update = 4});
  EXPECT_THROW(dure::Run(often, stage).run(), std::runtime_error);
  EXPECT_EQ(last_saved("m"), 4);
  often.folder = at("steps");
  often.checkpoint_minutes = 0;
  ToyStage by_steps({.die_before_update = 4});
  EXPECT_THROW(dure::Run(often, by_steps).run(), std::runtime_error);
  EXPECT_EQ(last_saved("steps"), 0);
}

// The minutes count from the last checkpoint, not from the start.
TEST_F(RunTest, MinutesCountFromTheLastCheckpoint) {
  class SlowStart : public ToyStage {
   public:
    SlowStart() : ToyStage({.die_before_update = 4}) {}
    StepReport step(const StepContext& context) override {
      if (context.index == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2100));
      return ToyStage::step(context);
    }
  };
  RunOptions rare = options("c");
  rare.checkpoint_steps = 100;
  rare.checkpoint_minutes = 2.0 / 60;
  SlowStart stage;
  EXPECT_THROW(dure::Run(rare, stage).run(), std::runtime_error);
  EXPECT_EQ(last_saved("c"), 1);
}

// Stands where weights have just moved, and looks for the checkpoint of those before.
class LookingStage : public ToyStage {
 public:
  explicit LookingStage(Path checkpoints) : checkpoints_(std::move(checkpoints)) {}
  StepReport step(const StepContext& context) override {
    StepReport report = ToyStage::step(context);
    if (context.index > 0 && context.index % 3 == 0) {
      const auto latest = latest_checkpoint(checkpoints_);
      EXPECT_TRUE(latest && Checkpoint(*latest).step() == context.index) << context.index;
    }
    return report;
  }

 private:
  Path checkpoints_;
};

TEST_F(RunTest, ACheckpointIsCommittedBeforeTheNextUpdateMovesAWeight) {
  LookingStage stage(at("looking") / "checkpoints");
  dure::Run(options("looking"), stage).run();
  EXPECT_EQ(last_saved("looking"), kSteps);
  for (const Json& row : read_metrics(at("looking") / "metrics.jsonl")) {
    const int64_t step = row.at("step").as_int();
    const bool beside = step > 1 && step % 3 == 1;
    for (const char* name : {"checkpoint/pause", "checkpoint/write_time"}) {
      ASSERT_EQ(row.find(name) != nullptr, beside) << name << " of step " << step;
      if (!beside) continue;
      EXPECT_GT(row.at(name).as_double(), 0) << name;
    }
  }
}

// What is called before an update still sees the weights and moments before it.
TEST_F(RunTest, WhoIsAskedBeforeWeightsMoveSeesThemUnmoved) {
  ToyStage stage;
  stage.open(nullptr);
  Learner& learner = stage.learner();
  const auto squares = [&] {
    CpuStream stream;
    const ConstTensorView flat = learner.parameters().flat();
    return sum_of_squares({&flat, 1}, stream);
  };
  const double before = squares();
  int calls = 0;
  learner.set_before_moving([&] {
    ++calls;
    EXPECT_EQ(squares(), before);
    EXPECT_EQ(learner.optimiser().step_count(), 0);
  });
  stage.accumulate(0);
  EXPECT_EQ(calls, 0);
  learner.update(0.01, "here");
  EXPECT_EQ(calls, 1);
  EXPECT_NE(squares(), before);
}

}  // namespace
}  // namespace dure
