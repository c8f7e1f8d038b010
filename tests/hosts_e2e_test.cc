// One run over four "hosts" (namespaces) with slow wires between them: the bits of one process; and
// one host cut off in the middle: the others end in seconds, fewer ranks go on from the last
// commit.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "net_hosts.h"
#include "tiny_runs.h"

namespace dure {
namespace {

class OverHosts : public TinyRuns {
 protected:
  void SetUp() override {
    if (std::system("command -v mpirun > /dev/null 2>&1") != 0)
      GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
    try {
      hosts_ = std::make_unique<NetHosts>(4, WireOptions{.bandwidth = 50e6, .latency_s = 500e-6});
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
    return c;
  }

  struct Ended {
    int code = 0;
    std::string output;
  };
  Ended train(int ranks, TrainConfig c) const {
    c.ranks.data = ranks;
    Json json = to_json(c);
    json["model"] = parse_json(kModel, "model");
    const Path file = at(fmt::format("{}.json", Path(c.output).filename().string()));
    write_file(file, json.dump(2));
    const std::string command = fmt::format(
        "DURE_PROGRESS=off DURE_LOG=error DURE_THREADS=1 {} -x DURE_PROGRESS -x "
        "DURE_LOG -x DURE_THREADS '{}' train '{}' 2>&1 < /dev/null",
        hosts_->mpirun(ranks), DURE_BINARY, file.string());
    std::FILE* pipe = ::popen(command.c_str(), "r");
    Ended out;
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
      out.output.append(buffer, n);
    out.code = WEXITSTATUS(::pclose(pipe));
    return out;
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
  const Ended ended = train(4, in_parts("four"));
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
  const Ended ended = train(4, c);
  cutter.join();
  EXPECT_LT(seconds, 30) << "a limit of 2 s";
  RecordProperty("seconds", std::to_string(seconds));
  EXPECT_NE(ended.code, 0);
  // One line of the program, whatever the launcher adds.
  const size_t line = ended.output.find("dure: ");
  ASSERT_NE(line, std::string::npos) << ended.output;
  EXPECT_EQ(ended.output.find("dure: ", line + 1), std::string::npos) << ended.output;
  EXPECT_EQ(ended.output.find("rank 3 (host4) has not answered rank"), line + 6) << ended.output;

  const int64_t step = Checkpoint(*latest_checkpoint(at("cut") / "checkpoints")).step();
  c.steps = step + 2;
  const Ended again = train(2, c);
  EXPECT_EQ(again.code, 0) << again.output;
  c.output = at("whole").string();
  run(c);
  expect_same("whole", "cut", step + 2);
}

}  // namespace
}  // namespace dure
