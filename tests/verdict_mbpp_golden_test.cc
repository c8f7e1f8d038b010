// MBPP's own programs: the reference code of every task passes its asserts, but for one that takes
// minutes; code that returns something else fails.
#include <atomic>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "grade/graders.h"
#include "sandbox/sandboxed_program.h"
#include "verdict_programs.h"
#include "verdicts.h"

namespace dure {
namespace {

// CPython needs minutes for it (mbpp/SOURCE.md).
constexpr const char* kSlow = "123";

Item item_of(const Json& row) {
  const std::string id = std::to_string(row.at("task_id").as_int());
  return {.id = id, .reference = row, .limits = {.seconds_max = id == kSlow ? 1.0 : 0.0}};
}

std::unique_ptr<Grader> grader() {
  return make_grader(standard_graders(),
                     parse_json(R"({"name": "code", "mode": "asserts"})", "options"), {}, "test");
}

class Mbpp : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto& missing = sandbox_missing()) GTEST_SKIP() << *missing;
  }
};

TEST_F(Mbpp, ReferenceCodePasses) {
  const auto path = verdicts::file("mbpp/mbpp.jsonl");
  if (!path) return;
  const std::vector<Json> rows = verdicts::rows_of(*path);
  const std::unique_ptr<Grader> asserts = grader();
  std::mutex mutex;
  std::set<std::string> failed;
  verdicts::two_at_a_time(rows.size(), [&](size_t i) {
    const Item item = item_of(rows[i]);
    asserts->check(item);
    const Grade grade = asserts->grade(item, {.content = rows[i].at("code").as_string()});
    if (grade.score == 1.0) return;
    const std::lock_guard lock(mutex);
    failed.insert(item.id);
    std::printf("task %s: %s\n", item.id.c_str(), grade.reason.c_str());
  });
  std::printf("MBPP: %zu of %zu reference programs pass\n", rows.size() - failed.size(),
              rows.size());
  failed.erase(kSlow);
  EXPECT_EQ(failed, std::set<std::string>{});
}

// The reference code with every function it defines made to return something else.
TEST_F(Mbpp, BrokenCodeFails) {
  const auto path = verdicts::file("mbpp/mbpp.jsonl");
  if (!path) return;
  const std::vector<Json> rows = verdicts::rows_of(*path);
  const std::unique_ptr<Grader> asserts = grader();
  std::atomic<int> failed = 0, tried = 0;
  verdicts::two_at_a_time(rows.size() / 8, [&](size_t i) {
    const Item item = item_of(rows[8 * i]);
    if (item.id == kSlow) return;
    const std::string code = rows[8 * i].at("code").as_string() +
                             "\nfor name, thing in list(globals().items()):\n"
                             "    if type(thing) is type(lambda: 0): exec(name + ' = lambda *a, "
                             "**k: \"something else\"')\n";
    const Grade grade = asserts->grade(item, {.content = code});
    ++tried;
    failed += grade.score == 0.0 ? 1 : 0;
    EXPECT_EQ(grade.score, 0.0) << item.id;
  });
  std::printf("MBPP: %d of %d broken programs fail\n", failed.load(), tried.load());
}

}  // namespace
}  // namespace dure
