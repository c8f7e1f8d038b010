// One curve on 1, 2 and 4 ranks: weights, moments and losses to the bit, as threads of a process
// and as processes of mpirun; checkpoints that go on over any number of ranks; ranks that die, hang
// or meet bad data; tables that do not fit.
#include <signal.h>

#include <atomic>
#include <thread>

#include "rank_runs.h"

namespace dure {
namespace {

TEST_F(Ranks, PretrainingHasTheSameBitsOnOneTwoAndFourRanks) {
  run_on(1, in_parts("p1"));
  run_on(2, in_parts("p2"));
  run_on(4, in_parts("p4"));
  expect_same("p1", "p2");
  expect_same("p1", "p4");
  const auto manifest = [&](const std::string& run) {
    return read_file(*latest_checkpoint(at(run) / "checkpoints") / "manifest.json");
  };
  // The state too, but for where the run lies.
  EXPECT_EQ(manifest("p1").size(), manifest("p4").size());
}

// The embedding is the head too: its gradient is complete when the backward is done, with the MTP
// layer's share, of either kind of layer the rest before.
TEST_F(Ranks, WithATiedHeadTheBitsAreTheSame) {
  Json model = parse_json(kModel, "model");
  model["tie_word_embeddings"] = true;
  const auto with = [&](const std::string& name) {
    TrainConfig c = in_parts(name);
    c.steps = 2;
    c.record = {.checkpoint_steps = 2};
    return c;
  };
  run_over({}, with("e1"), model);
  for (const int ranks : {2, 4}) {
    const std::string name = fmt::format("e{}", ranks);
    run_over({.data = ranks}, with(name), model);
    expect_same("e1", name);
    const std::vector<double> hidden = column_of(name, "ranks/gradients_hidden");
    EXPECT_EQ(hidden.size(), 2u);
    for (const double share : hidden) {
      EXPECT_GE(share, 0);
      EXPECT_LT(share, 1);  // the embedding's
    }
  }
  EXPECT_EQ(read_metrics(at("e1") / "metrics.jsonl")[0].find("ranks/gradients_hidden"), nullptr);
}

TEST_F(Ranks, FineTuningWithAdamWHasTheSameBits) {
  run_on(1, in_parts("base"));
  const auto with = [&](const std::string& name) {
    TrainConfig c = tuning(name, "base/model");
    c.batch = {.rows = 4, .tokens = 128, .micro_rows = 1};
    c.optimiser.kind = OptimiserKind::kAdamW;
    c.steps = 4;
    c.record = {.checkpoint_steps = 4};
    return c;
  };
  run_on(1, with("s1"));
  run_on(2, with("s2"));
  run_on(4, with("s4"));
  expect_same("s1", "s2");
  expect_same("s1", "s4");
}

// Three ranks, a batch of twelve passes in six parts; BF16 products.
TEST_F(Ranks, PartsMayBeAnyNumberTimesAPowerOfTwo) {
  const auto with = [&](const std::string& name) {
    TrainConfig c = in_parts(name);
    c.batch = {.rows = 12, .tokens = 32, .micro_rows = 1, .parts = 6};
    c.train.arithmetic = Arithmetic::kBf16;
    c.steps = 3;
    c.record = {.checkpoint_steps = 3};
    return c;
  };
  run_on(1, with("t1"));
  run_on(3, with("t3"));
  run_on(6, with("t6"));
  expect_same("t1", "t3");
  expect_same("t1", "t6");
}

// DURE_RANK_KILLS: how many; each goes on with another number of ranks.
TEST_F(Ranks, KilledAtRandomMomentsARunGoesOnOverOtherRanksToTheSameBits) {
  run_on(1, in_parts("whole"));
  const char* wanted = std::getenv("DURE_RANK_KILLS");
  const int kills = wanted != nullptr ? std::atoi(wanted) : 4;
  Rng rng(11);
  for (int k = 0; k < kills;) {
    const std::string name = fmt::format("killed-{}", k);
    for (int round = 0; round < 3; ++round, ++k) {
      const int ranks = rng.below(2) == 0 ? 2 : 4;
      const int victim = static_cast<int>(rng.below(ranks));
      const auto errors = run_killed(in_parts(name), {.data = ranks}, victim, rng.below(120));
      for (int r = 0; r < ranks; ++r) {
        const std::string& error = errors[static_cast<size_t>(r)];
        if (r == victim || error.empty()) continue;
        EXPECT_NE(error.find(fmt::format("rank {} (thread {})", victim, victim)), std::string::npos)
            << error;
      }
    }
    run_on(rng.below(2) == 0 ? 1 : 2, in_parts(name));
    expect_same("whole", name);
  }
}

TEST_F(Processes, UnderMpirunABatchHasTheBitsOfOneProcess) {
  const Path file = write_config(in_parts("m1"), "m.json");
  ASSERT_EQ(run_program("train '" + file.string() + "'").code, 0);
  for (const int ranks : {2, 4}) {
    const std::string name = fmt::format("m{}", ranks);
    const Ended ended = train(
        ranks, file, fmt::format("--set ranks.data={} --set output={}", ranks, at(name).string()));
    EXPECT_EQ(ended.code, 0) << ended.output;
    expect_same("m1", name);
    // What travels: every rank sends the gradients and weights that are not its own to keep, once.
    for (const double sent : column_of(name, "ranks/sent_bytes")) EXPECT_GT(sent, 0);
  }
}

TEST_F(Processes, ATableThatDoesNotFitIsOneLineOfOneRank) {
  const Path file = write_config(in_parts("t"), "table.json");
  const auto refused = [&](int ranks, const std::string& more, const std::string& part) {
    const Ended ended = train(ranks, file, more);
    EXPECT_EQ(ended.code, 2) << ended.output;
    EXPECT_EQ(ended.lines(), 1) << ended.output;
    EXPECT_NE(ended.output.find(part), std::string::npos) << ended.output;
    EXPECT_LT(ended.seconds, 10);
  };
  refused(2, "",
          "ranks: data 1 x expert 1 x pipeline 1 = 1, but mpirun started 2: set ranks.data=2");
  refused(2, "--set ranks.data=4", "but mpirun started 2");
  refused(2, "--set ranks.pipeline=3", "but mpirun started 2");
  refused(2, "--set ranks.data=2 --set batch.micro_rows=8", "set batch.micro_rows to 4");
  refused(2, "--set ranks.data=2 --set batch.parts=3", "batch.parts is 3");
  EXPECT_FALSE(path_exists(at("t")));
}

TEST_F(Processes, RanksOfAnotherKindAreRefused) {
  const Path file = write_config(in_parts("isa"), "isa.json");
  const Ended ended = end_of(fmt::format(
      "{} sh -c 'if [ $OMPI_COMM_WORLD_RANK = 1 ]; then export DURE_ISA=generic; fi; exec \"{}\" "
      "train \"{}\" --set ranks.data=2'",
      mpirun(2), DURE_BINARY, file.string()));
  EXPECT_EQ(ended.code, 2) << ended.output;
  EXPECT_EQ(ended.lines(), 1) << ended.output;
  EXPECT_NE(ended.output.find("the instruction set differs between ranks: rank 0 ("),
            std::string::npos)
      << ended.output;
}

TEST_F(Processes, WithoutTheLibraryOneRankSaysSo) {
  const Path file = write_config(in_parts("lib"), "lib.json");
  const std::string set =
      "DURE_LOG=error OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK={} LD_LIBRARY_PATH= "
      "DURE_MPI_LIBRARY=/nowhere/libmpi.so '{}' train '{}' --set ranks.data=2";
  const Ended first = end_of(fmt::format(fmt::runtime(set), 0, DURE_BINARY, file.string()));
  EXPECT_EQ(first.code, 2);
  EXPECT_NE(first.output.find("MPI cannot be opened"), std::string::npos) << first.output;
  const Ended second = end_of(fmt::format(fmt::runtime(set), 1, DURE_BINARY, file.string()));
  EXPECT_EQ(second.code, 2);
  EXPECT_EQ(second.output, "");
}

// What the two ranks of a run of many steps do when one of them is sent `signal`.
TEST_F(Processes, ARankThatDiesOrHangsEndsTheRunInSeconds) {
  for (const int sent : {SIGKILL, SIGSTOP}) {
    const std::string name = fmt::format("sent-{}", sent);
    TrainConfig c = in_parts(name);
    c.steps = 100000;
    c.ranks = {.data = 2, .limit_s = 2};
    const Path file = write_config(c, name + ".json");
    std::thread killer([&] {
      while (steps_written(name) < 4) ::usleep(10000);
      // The second rank by its environment.
      const std::string find = fmt::format(
          "for p in $(pgrep -f 'train {}'); do if tr '\\0' '\\n' < /proc/$p/environ | grep -qx "
          "OMPI_COMM_WORLD_RANK=1; then kill -{} $p; fi; done",
          file.string(), sent);
      static_cast<void>(std::system(find.c_str()));
    });
    const Ended ended = train(2, file);
    killer.join();
    EXPECT_NE(ended.code, 0) << ended.output;
    EXPECT_NE(ended.output.find("rank 1"), std::string::npos) << ended.output;
    if (sent == SIGSTOP) {
      EXPECT_NE(ended.output.find("has not answered rank 0"), std::string::npos) << ended.output;
    }
    EXPECT_TRUE(latest_checkpoint(at(name) / "checkpoints").has_value());
  }
}

}  // namespace
}  // namespace dure
