// tests/rank_runs.h: tiny runs over ranks, as threads of a process and as processes of mpirun, and
// what must be alike of two of them.
#pragma once

#include <chrono>
#include <sstream>
#include <thread>

#include "comm/faulty_transport.h"
#include "comm/thread_transport.h"
#include "program.h"
#include "tiny_runs.h"

namespace dure {

class Ranks : public TinyRuns {
 protected:
  static void SetUpTestSuite() {
    TinyRuns::SetUpTestSuite();
    ::setenv("DURE_THREADS", "1", 1);
  }
  static void TearDownTestSuite() {
    ::unsetenv("DURE_THREADS");
    TinyRuns::TearDownTestSuite();
  }

  // Eight passes in four parts.
  TrainConfig in_parts(const std::string& output) const {
    TrainConfig c = config(output);
    c.batch = {.rows = 8, .tokens = 32, .micro_rows = 1};
    c.steps = 6;
    c.record = {.checkpoint_steps = 3, .eval_steps = 3, .eval_rows = 4};
    return c;
  }

  // data ranks.
  static void run_on(int ranks, TrainConfig c) { run_over({.data = ranks}, std::move(c)); }
  static void run_over(const MeshShape& ranks, TrainConfig c,
                       const Json& new_model = parse_json(kModel, "model")) {
    c.ranks = {.data = ranks.data, .expert = ranks.expert, .pipeline = ranks.pipeline};
    const Json model = c.init.empty() ? new_model : Json();
    if (ranks.count() == 1) return run_training(c, model, "test.yaml");
    run_ranks(static_cast<int>(ranks.count()),
              [&](Group& world) { run_training(c, model, "test.yaml", world); });
  }

  // Every file of the last checkpoint, and the losses.
  void expect_same(const std::string& one, const std::string& other) const {
    const auto a = latest_checkpoint(at(one) / "checkpoints"),
               b = latest_checkpoint(at(other) / "checkpoints");
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->filename(), b->filename());
    for (const char* name : {"model.safetensors", "optimiser.safetensors", "config.json"})
      EXPECT_TRUE(read_file(*a / name) == read_file(*b / name)) << other << ": " << name;
    for (const char* name : {"loss", "mtp_loss", "balance_loss", "grad_norm", "num_tokens"})
      EXPECT_EQ(column_of(one, name), column_of(other, name)) << other << ": " << name;
    EXPECT_TRUE(weights_of(one) == weights_of(other)) << other;
  }

  // A configuration as a file, its `model` included.
  Path write_config(const TrainConfig& c, const std::string& name) const {
    Json json = to_json(c);
    json["model"] = parse_json(kModel, "model");
    write_file(at(name), json.dump(2));
    return at(name);
  }
};

// Ends a thread's rank as a kill ends a process.
struct Killed {};

// The run on ranks of threads, rank `victim` killed at its exchange number `at`. The others'
// errors.
inline std::vector<std::string> run_killed(TrainConfig c, const MeshShape& shape, int victim,
                                           int64_t at) {
  c.ranks = {.data = shape.data, .expert = shape.expert, .pipeline = shape.pipeline};
  const int ranks = static_cast<int>(shape.count());
  ThreadWorld world(ranks);
  std::vector<std::string> errors(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  std::vector<int> members;
  for (int r = 0; r < ranks; ++r) members.push_back(r);
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      FaultyTransport transport(
          world.transport(r),
          r == victim ? Fault{.kind = Fault::Kind::kKill, .at = at, .kill = [] { throw Killed(); }}
                      : Fault{});
      Group group(transport, members, 0, 60);
      try {
        run_training(c, parse_json(kModel, "model"), "test.yaml", group);
      } catch (const Killed&) {
        world.set_dead(r);
      } catch (const Error& error) {
        errors[static_cast<size_t>(r)] = error.what();
        world.transport(r).announce({r, error.code(), error.what()});  // as a process does
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

// The processes of mpirun.
class Processes : public Ranks {
 protected:
  void SetUp() override {
    if (std::system("command -v mpirun > /dev/null 2>&1") != 0)
      GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
  }

  struct Ended {
    int code = 0;
    std::string output;
    double seconds = 0;
    // Lines of the program itself.
    int64_t lines() const {
      int64_t count = 0;
      std::istringstream in(output);
      for (std::string line; std::getline(in, line);)
        count += line.find("dure: ") != std::string::npos ? 1 : 0;
      return count;
    }
  };

  static std::string mpirun(int ranks) {
    // Nothing of a network: ranks of one host, also in a container.
    return fmt::format(
        "DURE_PROGRESS=off DURE_LOG=error DURE_THREADS=1 OMPI_MCA_plm_rsh_agent=/bin/false mpirun "
        "--allow-run-as-root --oversubscribe --bind-to none --mca btl self,vader -n {} ",
        ranks);
  }
  static Ended end_of(const std::string& command) {
    const auto start = std::chrono::steady_clock::now();
    std::FILE* pipe = ::popen(("( " + command + " ) 2>&1 < /dev/null").c_str(), "r");
    Ended out;
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
      out.output.append(buffer, n);
    out.code = WEXITSTATUS(::pclose(pipe));
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
  }
  static Ended train(int ranks, const Path& config, const std::string& more = "") {
    return end_of(
        fmt::format("{} '{}' train '{}' {}", mpirun(ranks), DURE_BINARY, config.string(), more));
  }
};

}  // namespace dure
