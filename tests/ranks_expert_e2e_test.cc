// One curve on 1, 2 and 4 expert ranks, and on their product with data ranks: weights, moments,
// losses and checkpoints to the bit; bytes on the wire as they are counted beforehand; runs that
// are killed and go on over another table; tables that do not fit.
#include "rank_runs.h"
#include "train/rank_traffic.h"

namespace dure {
namespace {

class ExpertRanksRuns : public Ranks {
 protected:
  static Json model_of(int64_t experts) {
    Json model = parse_json(kModel, "model");
    model["num_experts"] = experts;
    return model;
  }
  static std::string error_over(const MeshShape& ranks, const TrainConfig& c) {
    try {
      run_over(ranks, c);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(ExpertRanksRuns, PretrainingHasTheSameBitsOnEveryTable) {
  run_over({}, in_parts("p1"));
  run_over({.expert = 2}, in_parts("e2"));
  expect_same("p1", "e2");
  run_over({.expert = 4}, in_parts("e4"));
  expect_same("p1", "e4");
  run_over({.data = 2, .expert = 2}, in_parts("d2e2"));
  expect_same("p1", "d2e2");
}

// AdamW; rows that are padding alone leave a rank without rows in some pass.
TEST_F(ExpertRanksRuns, FineTuningHasTheSameBits) {
  run_over({}, in_parts("base"));
  const auto with = [&](const std::string& name) {
    TrainConfig c = tuning(name, "base/model");
    c.batch = {.rows = 4, .tokens = 128, .micro_rows = 1, .recompute = name != "s1"};
    c.optimiser.kind = OptimiserKind::kAdamW;
    c.steps = 3;
    c.record = {.checkpoint_steps = 3};
    return c;
  };
  run_over({}, with("s1"));
  run_over({.expert = 2}, with("s2"));
  expect_same("s1", "s2");
  run_over({.data = 2, .expert = 2}, with("s4"));
  expect_same("s1", "s4");
}

// Three expert ranks, products of BF16, the router frozen; two parts a rank.
TEST_F(ExpertRanksRuns, AloneExpertRanksMayBeAnyNumber) {
  const auto with = [&](const std::string& name) {
    TrainConfig c = in_parts(name);
    c.batch = {.rows = 12, .tokens = 32, .micro_rows = 1, .parts = 6};
    c.train.arithmetic = Arithmetic::kBf16;
    c.loss.train_router = false;
    c.steps = 3;
    c.record = {.checkpoint_steps = 3};
    return c;
  };
  run_over({}, with("b1"), model_of(6));
  run_over({.expert = 3}, with("b3"), model_of(6));
  expect_same("b1", "b3");
}

TEST_F(ExpertRanksRuns, BytesOnTheWireAreThoseCountedBeforehand) {
  for (const MeshShape shape :
       {MeshShape{.expert = 2}, MeshShape{.data = 2, .expert = 2}, MeshShape{.data = 2}}) {
    const std::string name = fmt::format("wire-{}-{}", shape.data, shape.expert);
    TrainConfig c = in_parts(name);
    c.steps = 3;
    c.record = {.checkpoint_steps = 3};
    c.batch.recompute = shape.data == 2;
    run_over(shape, c);
    const ModelConfig model = ModelFiles(at(name) / "model").config();
    const LearnerOptions options{.optimiser = c.optimiser,
                                 .pass = {.recompute = c.batch.recompute, .mtp = true},
                                 .parts = c.batch.step_parts()};
    ExchangedRows rows{.passes = 8 / shape.batch()};
    const auto sent = column_of(name, "ranks/sent_bytes");
    for (size_t step = 1; step < sent.size(); ++step) {  // The first one tells places too.
      if (shape.expert > 1) {
        rows.sent = column_of(name, "ranks/expert_rows_sent")[step];
        rows.received = column_of(name, "ranks/expert_rows_received")[step];
      }
      EXPECT_EQ(sent[step], step_traffic(model, options, shape, {}, rows).total()) << name;
    }
  }
}

TEST_F(ExpertRanksRuns, KilledARunGoesOnOverAnotherTableToTheSameBits) {
  run_over({}, in_parts("whole"));
  // Exchange at which a rank is killed at the earliest: behind the checkpoint of step 3 by the
  // first.
  struct Kill {
    MeshShape table;
    int64_t from = 0, span = 1;
  };
  const std::array<Kill, 4> kills = {Kill{{.expert = 2}, 220, 100},
                                     {{.data = 2, .expert = 2}, 20, 60},
                                     {{.data = 2}, 5, 15},
                                     {{.expert = 4}, 20, 50}};
  Rng rng(5);
  for (const auto& [table, from, span] : kills) {
    int64_t failed = 0;
    const auto victim = static_cast<int>(rng.below(table.count()));
    for (const std::string& error :
         run_killed(in_parts("killed"), table, victim, from + rng.below(span))) {
      if (error.empty()) continue;
      ++failed;
      EXPECT_NE(error.find(fmt::format("rank {} (thread {})", victim, victim)), std::string::npos)
          << error;
    }
    EXPECT_EQ(failed, table.count() - 1);
  }
  run_over({.expert = 2}, in_parts("killed"));
  expect_same("whole", "killed");
}

TEST_F(ExpertRanksRuns, WhatCannotBeSharedIsRefusedWithTheNumbers) {
  const auto refused = [&](const MeshShape& ranks, const TrainConfig& c, const std::string& part) {
    const std::string error = error_over(ranks, c);
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  TrainConfig c = in_parts("refused");
  c.batch.rows = 12;
  c.batch.parts = 12;
  refused({.expert = 3}, c,
          "ranks.expert is 3, which does not divide the 4 experts of layer 1: set it to a divisor");
  refused({.data = 2, .expert = 3}, c, "ranks.expert is 3 and ranks.data 2");
  c.batch.parts = 6;
  refused({.data = 2, .expert = 2}, c, "ranks.data x ranks.expert is 4, but a step is summed in 6");
}

class ExpertProcesses : public Processes {};

TEST_F(ExpertProcesses, UnderMpirunExpertRanksHaveTheBitsOfOneProcess) {
  const Path file = write_config(in_parts("m1"), "m.json");
  ASSERT_EQ(run_program("train '" + file.string() + "'").code, 0);
  const Ended ended =
      train(4, file, "--set ranks.data=2 --set ranks.expert=2 --set output=" + at("m4").string());
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_same("m1", "m4");
}

}  // namespace
}  // namespace dure
