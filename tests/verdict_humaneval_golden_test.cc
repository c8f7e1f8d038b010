// HumanEval's own programs: every canonical solution passes its tests, the published examples pass
// and fail as they should, and solutions that were broken on purpose fail.
#include <atomic>

#include "base/error.h"
#include "base/file.h"
#include "grade/graders.h"
#include "sandbox/sandboxed_program.h"
#include "verdict_programs.h"
#include "verdicts.h"

namespace dure {
namespace {

Item item_of(const Json& row) { return {.id = row.at("task_id").as_string(), .reference = row}; }

std::unique_ptr<Grader> grader(const char* options) {
  return make_grader(standard_graders(), parse_json(options, "options"), {}, "test");
}

constexpr const char* kExact = R"({"name": "code", "mode": "completion", "part": "whole"})";

class HumanEval : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto& missing = sandbox_missing()) GTEST_SKIP() << *missing;
  }
};

TEST_F(HumanEval, CanonicalSolutionsPass) {
  const auto path = verdicts::file("humaneval/HumanEval.jsonl");
  if (!path) return;
  const std::vector<Json> rows = verdicts::rows_of(*path);
  const std::unique_ptr<Grader> exact = grader(kExact);
  std::atomic<size_t> passed = 0;
  verdicts::two_at_a_time(rows.size(), [&](size_t i) {
    const Item item = item_of(rows[i]);
    exact->check(item);
    const Grade grade =
        exact->grade(item, {.content = rows[i].at("canonical_solution").as_string()});
    passed += grade.score == 1.0 ? 1 : 0;
    EXPECT_EQ(grade.score, 1.0) << item.id << ": " << grade.reason;
  });
  std::printf("HumanEval: %zu of %zu canonical solutions pass\n", passed.load(), rows.size());
}

TEST_F(HumanEval, ExampleSamples) {
  const auto problem = verdicts::file("humaneval/example_problem.jsonl");
  const auto samples = verdicts::file("humaneval/example_samples.jsonl");
  if (!problem || !samples) return;
  const Item item = item_of(verdicts::rows_of(*problem).at(0));
  std::vector<double> scores;
  for (const Json& row : verdicts::rows_of(*samples)) {
    const Grade grade = grader(kExact)->grade(item, {.content = row.at("completion").as_string()});
    scores.push_back(grade.score.value());
  }
  EXPECT_EQ(scores, (std::vector<double>{0, 0, 0, 1, 1, 1}));
}

// As chat models answer: the whole function in a block, or its body alone.
TEST_F(HumanEval, AnswersInBlocks) {
  const auto path = verdicts::file("humaneval/HumanEval.jsonl");
  if (!path) return;
  const std::vector<Json> rows = verdicts::rows_of(*path);
  const auto chat = grader(R"({"name": "code", "mode": "completion"})");
  verdicts::two_at_a_time(rows.size() / 4, [&](size_t i) {
    const Json& row = rows[4 * i];
    const std::string body = row.at("canonical_solution").as_string();
    const std::string whole = row.at("prompt").as_string() + body;
    const Item item = item_of(row);
    for (const std::string& content :
         {"Here it is.\n\n```python\n" + whole + "\n```\nIt works.", body + "\n# test\nfoo(("}) {
      const Grade grade = chat->grade(item, {.content = content});
      EXPECT_EQ(grade.score, 1.0) << item.id << ": " << grade.reason;
    }
  });
}

TEST_F(HumanEval, BrokenSolutionsFail) {
  const auto path = verdicts::file("humaneval/HumanEval.jsonl");
  if (!path) return;
  const std::vector<Json> rows = verdicts::rows_of(*path);
  const std::unique_ptr<Grader> exact = grader(kExact);
  std::atomic<int> failed = 0;
  verdicts::two_at_a_time(rows.size(), [&](size_t i) {
    const std::string body = rows[i].at("canonical_solution").as_string();
    // Each of these returns nothing, or ends before its tests, or says that it passed.
    const char* before[] = {"    return None\n", "    raise SystemExit(0)\n",
                            "    import os; os._exit(0)\n", "    print('passed'); exit()\n"};
    const Item item = item_of(rows[i]);
    const Grade grade = exact->grade(item, {.content = before[i % 4] + body});
    failed += grade.score == 0.0 ? 1 : 0;
    EXPECT_EQ(grade.score, 0.0) << item.id;
    EXPECT_NE(grade.reason, "");
  });
  std::printf("HumanEval: %d broken solutions fail\n", failed.load());
}

}  // namespace
}  // namespace dure
