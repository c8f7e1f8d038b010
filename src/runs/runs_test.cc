// The registry against folders as runs leave them, whole and torn; what an end is said to be.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "runs/process_identity.h"
#include "runs/registry.h"
#include "runs/run_folder.h"
#include "runs/run_registration.h"

namespace dure {
namespace {

class Runs : public testing::Test {
 protected:
  Runs() { ::setenv("DURE_REGISTRY", file().c_str(), 1); }
  ~Runs() override { ::setenv("DURE_REGISTRY", "off", 1); }

  Path at(const std::string& name) const { return folder_.path() / name; }
  Path file() const { return at("registry/runs.sqlite"); }
  // A run's folder with so many rows of metrics.
  Path make(const std::string& name, int steps, const std::string& more = "\"stage\":\"sft\"") {
    make_folders(at(name));
    write_file(at(name) / "config.json",
               "{" + more + R"(,"steps":4,"batch":{"rows":2,"tokens":8}})");
    std::string rows;
    for (int i = 1; i <= steps; ++i) rows += fmt::format("{{\"step\":{},\"loss\":{}.5}}\n", i, i);
    write_file(at(name) / "metrics.jsonl", rows);
    return at(name);
  }
  static RunRecord only(const Registry& registry) {
    const std::vector<RunRecord> all = registry.list();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? RunRecord() : all[0];
  }

  TemporaryFolder folder_;
};

TEST_F(Runs, ARegisteredRunSaysHowItGoesAndHowItEnded) {
  const Path run = make("a", 2);
  run_registered({"sft", run, parse_json(R"({"x":1})", "c"), 4}, [&] {
    const RunRecord now = only(Registry(file()));
    EXPECT_EQ(now.state, RunState::kRunning);
    EXPECT_EQ(now.step, 2);
    EXPECT_EQ(now.steps, 4);
    append_file(run / "metrics.jsonl", "{\"step\":3,\"loss\":7.0}\n{\"step\":4,\"lo");
    EXPECT_EQ(only(Registry(file())).step, 3);
  });
  const RunRecord done = only(Registry(file()));
  EXPECT_EQ(done.state, RunState::kFinished);
  EXPECT_EQ(done.step, 3);
  EXPECT_EQ(done.config.at("x").as_int(), 1);
  EXPECT_EQ(done.summary.at("loss").as_double(), 7.0);
  EXPECT_GE(done.ended_s, done.started_s);
  EXPECT_EQ(done.name().substr(done.name().size() - 2), "/a");
}

TEST_F(Runs, FailuresAndInterruptsAreTold) {
  const Path run = make("a", 1);
  const auto with = [&](ErrorCode code) {
    EXPECT_THROW(run_registered({"sft", run}, [&] { fail(code, "so it is"); }), Error);
    return only(Registry(file()));
  };
  EXPECT_EQ(with(ErrorCode::kInterrupted).state, RunState::kInterrupted);
  const RunRecord failed = with(ErrorCode::kDiverged);  // Continued: the row is the same.
  EXPECT_EQ(failed.state, RunState::kFailed);
  EXPECT_EQ(failed.message, "so it is");
}

TEST_F(Runs, ARunWhoseProcessIsGoneIsLost) {
  const Path run = make("a", 3);
  const pid_t child = ::fork();
  if (child == 0) {
    run_registered({"sft", run}, [] { ::_exit(0); });
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(only(Registry(file())).state, RunState::kLost);
  EXPECT_EQ(only(Registry(file())).step, 3);
  std::filesystem::remove_all(run);
  Registry registry(file());
  EXPECT_EQ(only(registry).state, RunState::kGone);
  EXPECT_EQ(registry.forget_gone(), 1);
  EXPECT_TRUE(registry.list().empty());
}

TEST_F(Runs, FoldersAreFoundAgain) {
  make("runs/x/pretrain", 4, "\"stage\":\"pretrain\"");
  make_folders(at("runs/x/pretrain/model"));
  make("runs/x/deep/er/rl", 2, R"("objective":{"objective":"grpo"},"rollout":{})");
  make("runs/x/prefer", 2, R"("objective":{"objective":"dpo"},"data":{"files":[]})");
  make_folders(at("runs/report"));
  write_file(at("runs/report/report.html"), "");
  write_file(at("runs/report/results.json"),
             R"([{"name":"m","settings":[{"right":3,"total":4}],"samples":[1]}])");
  make_folders(at("runs/no-run"));
  Registry registry(file());
  EXPECT_TRUE(registry.is_new());
  EXPECT_EQ(registry.scan(at("runs")), 4);
  EXPECT_EQ(registry.scan(at("runs")), 0);
  const auto found = [&](const char* name) { return registry.find(run_id(at(name))); };
  EXPECT_EQ(found("runs/x/pretrain")->state, RunState::kFinished);
  EXPECT_EQ(found("runs/x/deep/er/rl")->state, RunState::kInterrupted);
  EXPECT_EQ(found("runs/x/deep/er/rl")->kind, "rl");
  EXPECT_EQ(found("runs/x/prefer")->kind, "prefer");
  EXPECT_EQ(found("runs/report")->summary.at("models").at(size_t{0}).at("right").as_int(), 3);
  EXPECT_FALSE(eval_results(at("runs/report")).at(size_t{0}).contains("samples"));
  // The beginning of an id names it; what is no id names nothing.
  EXPECT_TRUE(registry.find(run_id(at("runs/report")).substr(0, 6)).has_value());
  for (const char* none : {"", "%", "_", "../x", "zz"}) EXPECT_FALSE(registry.find(none)) << none;
}

TEST_F(Runs, ManyProcessesWriteAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const Path run = at("many/" + std::to_string(i));
      make_folders(run);
      for (int j = 0; j < 5; ++j) run_registered({"rl", run}, [] {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Registry(file()).list().size(), 8u);
}

TEST_F(Runs, ARegistryThatCannotBeUsedCostsNoRun) {
  make_folders(file().parent_path());
  write_file(file(), "this is no database, and it is long enough to be looked at: " +
                         std::string(2000, 'x'));
  bool ran = false;
  run_registered({"sft", make("a", 1)}, [&] { ran = true; });
  EXPECT_TRUE(ran);
  EXPECT_THROW(Registry{file()}, Error);
  std::filesystem::remove(file());
  { Registry made(file()); }
  sqlite3* newer = nullptr;
  sqlite3_open(file().c_str(), &newer);
  sqlite3_exec(newer, "PRAGMA user_version = 9", nullptr, nullptr, nullptr);
  sqlite3_close(newer);
  EXPECT_THROW(Registry{file()}, Error);
  ::setenv("DURE_REGISTRY", "off", 1);
  EXPECT_EQ(open_registry(), nullptr);
}

TEST_F(Runs, RowsAreReadByPieces) {
  const Path rows = at("rows.jsonl");
  EXPECT_EQ(read_rows(rows, 0, 100).next, 0);
  std::string text;
  for (int i = 0; i < 200; ++i) text += fmt::format("{{\"step\":{}}}\n", i);
  write_file(rows, text + "{\"step\":20");
  int64_t offset = 0;
  size_t count = 0;
  for (JsonRows piece; (piece = read_rows(rows, offset, 64)).rows.size() > 0; offset = piece.next)
    count += piece.rows.size();
  EXPECT_EQ(count, 200u);
  EXPECT_EQ(offset, std::ssize(text));
  append_file(rows, "0}\n");
  EXPECT_EQ(read_rows(rows, offset, 64).rows.at(0).at("step").as_int(), 200);
  // A run went back: the file is shorter now.
  write_file(rows, "{\"step\":1}\nnonsense\n");
  const JsonRows again = read_rows(rows, offset, 64);
  EXPECT_TRUE(again.restarted);
  EXPECT_EQ(again.rows.size(), 1u);
  // A row that is longer than a piece.
  write_file(rows, "{\"x\":\"" + std::string(1000, 'y') + "\"}\n{\"x\":\"" +
                       std::string(5000, 'z') + "\"}\n{\"step\":2}\n");
  EXPECT_EQ(read_rows(rows, 0, 64).rows.size(), 1u);
  EXPECT_TRUE(read_rows(rows, 0, 64).more);
  EXPECT_EQ(last_row(rows).at("step").as_int(), 2);
}

TEST_F(Runs, SamplesComeNewestFirst) {
  make_folders(at("s"));
  std::string text;
  for (int i = 0; i < 25; ++i)
    text += fmt::format(R"({{"step":{},"task":"{}","reward":{}.0}})", i, i % 2 ? "odd" : "even",
                        i % 5 == 0 ? 1 : 0) +
            "\n";
  write_file(at("s/samples.jsonl"), text);
  const SamplePage page = read_samples(at("s"), {.from = 2, .count = 3});
  EXPECT_EQ(page.total, 25);
  EXPECT_EQ(page.rows.at(0).at("step").as_int(), 22);
  EXPECT_EQ(page.rows.size(), 3u);
  EXPECT_EQ(page.tasks, (std::vector<std::string>{"even", "odd"}));
  EXPECT_EQ(read_samples(at("s"), {.task = "odd", .right = true}).total, 2);
  EXPECT_EQ(read_samples(at("s"), {.from = 100}).rows.size(), 0u);
  EXPECT_EQ(read_samples(at("nowhere"), {}).total, 0);
}

TEST(ProcessIdentity, TellsProcessesApart) {
  ProcessIdentity process = ProcessIdentity::ours();
  EXPECT_TRUE(process.is_of_this_machine());
  EXPECT_TRUE(process.lives());
  ++process.start;
  EXPECT_FALSE(process.lives());
  process.host += "x";
  EXPECT_FALSE(process.is_of_this_machine());
}

}  // namespace
}  // namespace dure
