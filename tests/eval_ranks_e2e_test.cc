// `mpirun dure eval MODEL SUITE`: answers, grades and table of one process, on any number of ranks,
// over a rank's death; what ranks cannot share is one line.
#include <atomic>
#include <map>
#include <thread>

#include "base/json.h"
#include "eval/answer_store.h"
#include "launched.h"
#include "tiny_model.h"

namespace dure {
namespace {

using Key = std::tuple<std::string, std::string, int64_t>;

class EvalRanks : public TinyModel {
 protected:
  void SetUp() override {
    if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
  }

  // All that a row holds but the seconds that it took.
  static std::map<Key, std::string> rows(const std::string& out) {
    std::map<Key, std::string> found;
    const AnswerStore store = AnswerStore::open_existing(Path(at(out)) / "answers.sqlite");
    for (const MeasureRow& measure : store.measures("t")) {
      for (const AnswerRow& row : store.answers("t", measure.task)) {
        const Answer& a = row.answer;
        found[{row.task, row.item, row.sample}] = fmt::format(
            "{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", row.group, row.messages.dump(),
            row.expected.dump(), a.reasoning, a.content, plain_calls_json(a.tool_calls).dump(),
            Json::array_of(a.log_likelihoods).dump(), name_of(row.end), row.turns,
            row.prompt_tokens, row.tokens, row.grade.score.value_or(-1),
            row.grade.extracted + row.grade.reason + row.grade.parts.dump());
      }
    }
    return found;
  }
  static std::string command(const std::string& suite, const std::string& out) {
    return fmt::format("eval t={} '{}' --out '{}'", at("model"), suite, at(out));
  }
  static Launched on(int ranks, const std::string& arguments) {
    return end_of(fmt::format("{} '{}' {}", mpirun(ranks), DURE_BINARY, arguments));
  }
  static size_t count(const std::string& out) {
    try {
      return rows(out).size();
    } catch (const Error&) {  // It is not there yet.
      return 0;
    }
  }
  static void expect_same(const std::string& one, const std::string& other) {
    EXPECT_EQ(rows(one), rows(other)) << other;
    EXPECT_EQ(read_file(at(one) + "/report.txt"), read_file(at(other) + "/report.txt"));
    const auto figures = [&](const std::string& out) {
      std::string text;
      const Json found = load_json(at(out) + "/results.json");
      for (const Json& task : found.at("models").at(size_t{0}).at("tasks").as_array())
        for (const char* name : {"task", "metrics", "groups", "answers", "missing", "tokens"})
          text += task.at(name).dump() + "\n";
      return text;
    };
    EXPECT_EQ(figures(one), figures(other));
  }
  static std::string suite() {
    write_file(at("suite.yaml"),
               "tasks: [{task: drills, samples: 2}, own_basics]\nnew_tokens_max: 12\n");
    return at("suite.yaml");
  }
};

TEST_F(EvalRanks, AnswersAndTableAreThoseOfOneProcess) {
  ASSERT_EQ(run_program(command(suite(), "one")).code, 0);
  const Launched two = on(2, command(suite(), "two"));
  ASSERT_EQ(two.code, 0) << two.output;
  expect_same("one", "two");
  EXPECT_EQ(two.output, read_file(at("one") + "/report.txt")) << "one table, of one rank";
}

TEST_F(EvalRanks, ARankThatDiesEndsAllAndOtherRanksGoOn) {
  const std::string arguments = command(suite(), "killed") + " --samples 4 --concurrency 2";
  Launched ended;
  std::atomic<bool> over = false;
  std::thread launched([&] {
    ended = on(3, arguments);
    over = true;
  });
  while (count("killed") < 20 && !over) ::usleep(2000);
  EXPECT_TRUE(signal_rank("--out " + at("killed"), 1, SIGKILL));
  launched.join();
  EXPECT_NE(ended.code, 0);
  EXPECT_NE(ended.output.find("rank 1"), std::string::npos) << ended.output;
  EXPECT_LT(ended.seconds, 60);
  const auto before = rows("killed");
  const Launched again = on(2, command(suite(), "killed") + " --samples 4");
  ASSERT_EQ(again.code, 0) << again.output;
  ASSERT_EQ(run_program(command(suite(), "whole") + " --samples 4").code, 0);
  EXPECT_LT(before.size(), rows("whole").size());
  expect_same("whole", "killed");
}

TEST_F(EvalRanks, WhatRanksCannotDoIsOneLine) {
  const auto refused = [&](const std::string& arguments, const std::string& part) {
    const Launched ended = on(2, arguments);
    EXPECT_EQ(ended.code, 2) << ended.output;
    EXPECT_EQ(ended.lines(), 1) << ended.output;
    EXPECT_NE(ended.output.find(part), std::string::npos) << ended.output;
  };
  refused("eval t=" + at("model") + " --out " + at("no"), "eval over ranks measures suites");
  refused("eval t=" + at("nothing") + " drills --out " + at("no"), at("nothing"));
  refused("eval t=" + at("model") + " drills --samples 0 --out " + at("no"), "samples");
  EXPECT_FALSE(path_exists(at("no")));
}

}  // namespace
}  // namespace dure
