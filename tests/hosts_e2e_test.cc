// One run over four "hosts" (namespaces) with slow wires between them: the bits of one process; and
// one host cut off in the middle: the others end in seconds, fewer ranks go on from the last
// commit.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "cli/rank_plan.h"
#include "launched.h"
#include "net_hosts.h"
#include "tiny_runs.h"

namespace dure {
namespace {

constexpr WireOptions kWire{.bandwidth = 50e6, .latency_s = 500e-6};

// Of recipes/nano: 17 MB of parameters.
constexpr const char* kNanoModel =
    R"({"model_type": "exaone_moe", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 8,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "sliding_window": 32, "sliding_window_pattern": "LLLG",
  "first_k_dense_replace": 1, "moe_intermediate_size": 64, "num_experts": 16, "num_experts_per_tok": 4, "num_shared_experts": 1,
  "rope_theta": 10000, "num_nextn_predict_layers": 1, "max_position_embeddings": 1024})";

class OverHosts : public TinyRuns {
 protected:
  void SetUp() override {
    if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
    try {
      hosts_ = std::make_unique<NetHosts>(4, kWire);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    RecordProperty("wires", hosts_->wires());
  }
  void TearDown() override { hosts_.reset(); }

  // Eight passes in four parts; the learning rate does not know the number of steps.
  TrainConfig in_parts(const std::string& output) const {
    TrainConfig c = config(output);
    c.batch = {.rows = 8, .tokens = 32, .micro_rows = 1};
    c.schedule = {.warmup_steps = 0, .decay_fraction = 0};
    c.steps = 4;
    c.record = {.checkpoint_steps = 2, .keep_last = 1000};
    c.ranks.limit_s = 30;
    return c;
  }

  // `before`: the launcher, or nothing.
  Launched launch(const TrainConfig& c, const char* model, const std::string& before) const {
    Json json = to_json(c);
    json["model"] = parse_json(model, "model");
    const Path file = at(fmt::format("{}.json", Path(c.output).filename().string()));
    write_file(file, json.dump(2));
    const std::string exported =
        before.empty() ? "" : "-x DURE_PROGRESS -x DURE_LOG -x DURE_THREADS";
    return end_of(
        fmt::format("DURE_PROGRESS=off DURE_LOG=error DURE_THREADS=1 {} {} '{}' train '{}'", before,
                    exported, DURE_BINARY, file.string()));
  }
  Launched train(int ranks, TrainConfig c) const {
    c.ranks.data = ranks;
    return launch(c, kModel, hosts_->mpirun(ranks));
  }

  // The files of one checkpoint, and the losses up to it.
  void expect_same(const std::string& one, const std::string& other, int64_t step) const {
    const std::string folder = fmt::format("checkpoints/step-{:08}", step);
    for (const char* name : {"model.safetensors", "optimiser.safetensors", "config.json"})
      EXPECT_TRUE(read_file(at(one) / folder / name) == read_file(at(other) / folder / name))
          << folder << "/" << name;
    EXPECT_EQ(losses_of(one), losses_of(other));
  }

  double seconds_until_all_ended(double most) const {
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const auto any_runs = [&] {
      for (int h = 0; h < 4; ++h)
        if (hosts_->running(h, DURE_BINARY) > 0) return true;
      return false;
    };
    while (any_runs() && seconds() < most) ::usleep(20000);
    return seconds();
  }

  std::unique_ptr<NetHosts> hosts_;
};

TEST_F(OverHosts, FourHostsHaveTheBitsOfOneProcess) {
  run(in_parts("one"));
  const Launched ended = train(4, in_parts("four"));
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_same("one", "four", 4);
}

TEST_F(OverHosts, AHostThatIsCutOffEndsTheRunAndFewerRanksGoOn) {
  TrainConfig c = in_parts("cut");
  c.steps = 1000000;
  c.ranks.limit_s = 2;
  double seconds = 0;  // until no rank runs any more, the lost one among them
  std::thread cutter([&] {
    while (!latest_checkpoint(at("cut") / "checkpoints")) ::usleep(5000);
    hosts_->cut(3);
    seconds = seconds_until_all_ended(/*most=*/60);
  });
  const Launched ended = train(4, c);
  cutter.join();
  EXPECT_LT(seconds, 30) << "a limit of 2 s";
  RecordProperty("seconds", std::to_string(seconds));
  EXPECT_NE(ended.code, 0);
  EXPECT_EQ(ended.lines(), 1) << ended.output;
  EXPECT_NE(ended.output.find("dure: rank 3 (host4) has not answered rank"), std::string::npos)
      << ended.output;

  const int64_t step = Checkpoint(*latest_checkpoint(at("cut") / "checkpoints")).step();
  c.steps = step + 2;
  const Launched again = train(2, c);
  EXPECT_EQ(again.code, 0) << again.output;
  c.output = at("whole").string();
  run(c);
  expect_same("whole", "cut", step + 2);
}

// DURE_MEASURE_HOSTS=1: the time of `dure plan --ranks` beside that of runs over the wires. One
// process says what arithmetic reaches here; ranks share two cores, and the switch takes its part.
class PlanOverHosts : public OverHosts {
 protected:
  TrainConfig nano(const std::string& output) const {
    TrainConfig c = in_parts(output);
    c.batch = {.rows = 8, .tokens = 128, .micro_rows = 1};
    c.steps = 10;
    c.record = {.checkpoint_steps = 1000, .checkpoint_minutes = 0};
    return c;
  }
  // Of all but the first, so that a busy moment of the machine does not count.
  double quickest_step(const std::string& run) const {
    const std::vector<double> times = column_of(run, "step_time");
    return *std::ranges::min_element(times.begin() + 1, times.end());
  }
};

TEST_F(PlanOverHosts, TimeBesideMeasured) {
  if (std::getenv("DURE_MEASURE_HOSTS") == nullptr)
    GTEST_SKIP() << "a measurement: set DURE_MEASURE_HOSTS";
  TrainConfig c = nano("alone");
  ASSERT_EQ(launch(c, kNanoModel, "").code, 0);
  const double alone = quickest_step("alone");
  const ModelConfig model = ModelFiles(at("alone/model"), Extent::kHeader).config();
  LearnerOptions options{.optimiser = c.optimiser, .parts = 4};
  const StepShape step{.rows = 8, .tokens = 128, .micro_rows = 1, .parts = 4};
  RankMachine machine{.flops = 1e9,
                      .memory_rate = 1e10,
                      .bandwidth = kWire.bandwidth,
                      .latency_s = kWire.latency_s};
  const auto planned = [&](const MeshShape& ranks) {
    return plan_ranks(model, options, ranks, step, machine, "test").time;
  };
  // What arithmetic reaches, from the one process: time falls as it rises.
  double low = 1e8, high = 1e13;
  for (int i = 0; i < 100; ++i) {
    machine.flops = std::sqrt(low * high);
    (planned({}).total() > alone ? low : high) = machine.flops;
  }
  const double reached = machine.flops;
  std::printf("alone: %.1f ms a step, %.2f GFLOP/s\n", 1e3 * alone, 1e-9 * reached);
  for (const int ranks : {2, 4}) {
    c = nano(fmt::format("over{}", ranks));
    c.ranks.data = ranks;
    ASSERT_EQ(launch(c, kNanoModel, hosts_->mpirun(ranks)).code, 0);
    // Two cores: a thread of four ranks has half of one.
    machine.flops = reached * std::min(1.0, 2.0 / ranks);
    const StepTime time = planned({.data = ranks});
    const double real = quickest_step(fmt::format("over{}", ranks));
    std::printf(
        "%d ranks: planned %.1f ms (passes %.1f, gradients %.1f, update %.1f, weights %.1f, "
        "small %.1f), measured %.1f ms (%+.0f %%)\n",
        ranks, 1e3 * time.total(), 1e3 * time.passes, 1e3 * time.gradients, 1e3 * time.update,
        1e3 * time.weights, 1e3 * time.small, 1e3 * real, 100 * (real / time.total() - 1));
    EXPECT_NEAR(real, time.total(), 0.25 * time.total());
  }
}

}  // namespace
}  // namespace dure
