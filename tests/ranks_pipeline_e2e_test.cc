// One curve on 1, 2 and 3 stages of a pipeline, and on their product with data ranks: weights,
// moments, losses and checkpoints to the bit; runs that go on over another table; stages that fail;
// tables that do not fit.
#include "rank_runs.h"
#include "train/rank_traffic.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

class Stages : public Ranks {
 protected:
  Json last_row(const std::string& output) const {
    return read_metrics(at(output) / "metrics.jsonl").back();
  }
  static void run_stages(TrainConfig c, const std::vector<int64_t>& layers) {
    c.ranks = {.pipeline = std::ssize(layers), .layers = layers};
    run_ranks(static_cast<int>(layers.size()), [&](Group& world) {
      run_training(c, parse_json(kModel, "model"), "test.yaml", world);
    });
  }
};

TEST_F(Stages, PretrainingHasTheSameBitsOnEveryTable) {
  run_over({}, in_parts("p1"));
  run_over({.pipeline = 2}, in_parts("s2"));
  expect_same("p1", "s2");
  EXPECT_EQ(column_of("p1", "router/load_cv/2"), column_of("s2", "router/load_cv/2"));
  for (const char* name : {"eval_loss", "eval_bits_per_byte"})
    EXPECT_EQ(last_row("p1").at(name), last_row("s2").at(name)) << name;
  run_over({.pipeline = 3}, in_parts("s3"));
  expect_same("p1", "s3");
  run_over({.data = 2, .pipeline = 2}, in_parts("d2s2"));
  expect_same("p1", "d2s2");
}

// Every place of a cut; inputs alone kept; BF16 products; passes that do not fill the pipeline.
TEST_F(Stages, AnyCutHasTheSameBits) {
  const auto with = [&](const std::string& name) {
    TrainConfig c = in_parts(name);
    c.batch = {.rows = 6, .tokens = 32, .micro_rows = 2, .parts = 3, .recompute = true};
    c.train.arithmetic = Arithmetic::kBf16;
    c.steps = 3;
    c.record = {.checkpoint_steps = 3};
    return c;
  };
  run_over({}, with("c1"));
  run_stages(with("c13"), {1, 3});
  expect_same("c1", "c13");
  run_stages(with("c31"), {3, 1});
  expect_same("c1", "c31");
  run_stages(with("c4"), {1, 1, 1, 1});
  expect_same("c1", "c4");
}

TEST_F(Stages, FineTuningHasTheSameBits) {
  run_over({}, in_parts("base"));
  const auto with = [&](const std::string& name) {
    TrainConfig c = tuning(name, "base/model");
    c.batch = {.rows = 4, .tokens = 128, .micro_rows = 1};
    c.optimiser.kind = OptimiserKind::kAdamW;
    c.steps = 4;
    c.record = {.checkpoint_steps = 4};
    return c;
  };
  run_over({}, with("t1"));
  run_over({.pipeline = 2}, with("t2"));
  expect_same("t1", "t2");
}

TEST_F(Stages, BytesOnTheWireAreThoseCountedBeforehand) {
  for (const MeshShape shape : {MeshShape{.pipeline = 3}, MeshShape{.data = 2, .pipeline = 2}}) {
    for (const double mtp : {0.0, 0.05}) {
      const std::string name = fmt::format("wire-{}-{}", shape.data, mtp > 0 ? "mtp" : "none");
      TrainConfig c = in_parts(name);
      c.loss.mtp_coefficient = mtp;
      c.steps = 2;
      c.record = {.checkpoint_steps = 2};
      run_over(shape, c);
      const ModelConfig model = ModelFiles(at(name) / "model").config();
      const LearnerOptions options{.optimiser = c.optimiser,
                                   .pass = {.mtp = mtp > 0},
                                   .parts = c.batch.step_parts(),
                                   .stage_layers = cut_layers(model, shape.pipeline, mtp > 0)};
      const int64_t passes = 8 / shape.batch();
      const ExchangedRows rows{.passes = passes, .tokens = static_cast<double>(passes * 32)};
      // The first step tells places too.
      EXPECT_EQ(column_of(name, "ranks/sent_bytes")[1],
                step_traffic(model, options, shape, {}, rows).total())
          << name;
    }
  }
}

TEST_F(Stages, WithoutTheMtpLossTheBitsAreTheSameToo) {
  const auto with = [&](const std::string& name) {
    TrainConfig c = in_parts(name);
    c.loss.mtp_coefficient = 0;
    c.steps = 2;
    c.record = {.checkpoint_steps = 2};
    return c;
  };
  run_over({}, with("m1"));
  run_over({.pipeline = 3}, with("m3"));
  EXPECT_TRUE(weights_of("m1") == weights_of("m3"));
}

// All three axes; experts with passes in flight, their rows kept or made again.
TEST_F(Stages, WithExpertRanksTheBitsAreTheSame) {
  for (const bool recompute : {false, true}) {
    const auto with = [&](const std::string& name) {
      TrainConfig c = in_parts(fmt::format("{}-{}", name, recompute));
      c.batch.recompute = recompute;
      c.steps = 3;
      c.record = {.checkpoint_steps = 3};
      return c;
    };
    run_over({}, with("x1"));
    run_over({.expert = 2, .pipeline = 2}, with("x4"));
    expect_same(fmt::format("x1-{}", recompute), fmt::format("x4-{}", recompute));
    if (recompute) continue;
    run_over({.data = 2, .expert = 2, .pipeline = 2}, with("x8"));
    expect_same("x1-false", "x8-false");
  }
}

TEST_F(Stages, ARunGoesOnOverAnotherTable) {
  run_over({}, in_parts("whole"));
  run_over({.pipeline = 2}, in_parts("moved"));
  std::filesystem::remove_all(at("moved") / "model");
  std::filesystem::remove_all(at("moved") / "checkpoints" / "step-00000006");
  run_over({.data = 2, .pipeline = 2}, in_parts("moved"));
  EXPECT_TRUE(weights_of("whole") == weights_of("moved"));
}

TEST_F(Stages, AStageThatDiesIsNamedByThoseThatWaitForIt) {
  for (const int victim : {0, 1, 2}) {
    const auto errors = run_killed(in_parts(fmt::format("killed-{}", victim)), {.pipeline = 3},
                                   victim, 60 + victim);
    for (int r = 0; r < 3; ++r) {
      const std::string& error = errors[static_cast<size_t>(r)];
      if (r == victim) continue;
      EXPECT_NE(error.find("died"), std::string::npos) << r << ": " << error;
    }
  }
}

TEST_F(Stages, TablesThatDoNotFitAreRefused) {
  const auto said = [&](const MeshShape& ranks, const std::string& model) {
    TrainConfig c = in_parts("refused");
    c.ranks = {.data = ranks.data, .pipeline = ranks.pipeline};
    try {
      run_ranks(static_cast<int>(ranks.count()), [&](Group& world) {
        run_training(c, parse_json(model, "model"), "test.yaml", world);
      });
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(said({.pipeline = 5}, kModel).find("ranks.pipeline is 5, but the model has 4 layers"),
            std::string::npos);
  std::string tied = kModel;
  tied.insert(1, R"("tie_word_embeddings": true, )");
  EXPECT_NE(said({.pipeline = 2}, tied).find("tie_word_embeddings"), std::string::npos);
}

class StageProcesses : public Processes {};

TEST_F(StageProcesses, RunInOneLineOrNone) {
  run_over({}, in_parts("one"));
  const Path file = write_config(in_parts("two"), "two.json");
  const Ended ended = train(2, file, "--set ranks.pipeline=2");
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_same("one", "two");
  const Ended refused = train(2, write_config(in_parts("no"), "no.json"),
                              "--set ranks.pipeline=2 --set 'ranks.layers=[4]'");
  EXPECT_EQ(refused.code, 2) << refused.output;
  EXPECT_EQ(refused.lines(), 1) << refused.output;
  EXPECT_NE(refused.output.find("ranks.layers has 1 stages"), std::string::npos) << refused.output;
}

}  // namespace
}  // namespace dure
