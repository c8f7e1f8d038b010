// Metrics against their definitions, intervals, what is missing or cannot be told; paired tests.
#include "eval/task_score.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "eval/compare.h"
#include "eval/suite_results.h"

namespace dure {
namespace {

AnswerRow answer(const std::string& item, int64_t sample, std::optional<double> score,
                 const std::string& said = "", const std::string& group = "") {
  AnswerRow row{.task = "t", .item = item, .sample = sample, .group = group, .tokens = 10};
  row.answer.content = said;
  row.grade = {score, said, "", {}};
  return row;
}

MeasureRow measure(std::vector<std::string> items, int64_t samples, const std::string& metric,
                   const std::string& mean = "items") {
  Json about = Json::object();
  about["title"] = "T";
  about["metric"] = metric;
  about["metrics"] = Json::array();
  about["mean"] = mean;
  Json settings = Json::object();
  settings["items"] = "hash";
  return {.task = "t",
          .settings = settings,
          .about = about,
          .items = std::move(items),
          .items_total = 3,
          .samples = samples};
}

double choose(int64_t n, int64_t k) {
  if (k < 0 || k > n) return 0;
  return std::round(std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) -
                             std::lgamma(static_cast<double>(n - k) + 1.0)));
}

TEST(TaskScore, PassAtIsTheUnbiasedEstimator) {
  for (int64_t n = 1; n <= 12; ++n) {
    for (int64_t c = 0; c <= n; ++c) {
      for (int64_t k = 1; k <= n; ++k) {
        EXPECT_NEAR(pass_at(n, c, k), 1 - choose(n - c, k) / choose(n, k), 1e-12);
        EXPECT_NEAR(all_at(n, c, k), choose(c, k) / choose(n, k), 1e-12);
      }
    }
  }
}

// All right is not certain: Wilson's interval, in groups and in means of tasks too.
TEST(TaskScore, NoIntervalIsOfNoWidth) {
  std::vector<AnswerRow> rows;
  std::vector<std::string> items;
  for (int i = 0; i < 20; ++i) {
    items.push_back(std::to_string(i));
    rows.push_back(answer(items.back(), 0, 1, "x", i < 10 ? "g" : "h"));
  }
  const TaskScore all = score_task(measure(items, 1, "mean"), rows);
  const Interval expected = wilson_interval(20, 20);
  EXPECT_EQ(all.metrics[0].interval.value, 1);
  EXPECT_EQ(all.metrics[0].interval.low, expected.low);
  EXPECT_EQ(all.metrics[0].interval.high, 1);
  ASSERT_EQ(all.groups.size(), 2u);
  EXPECT_EQ(all.groups[0].interval.low, wilson_interval(10, 10).low);
  const MetricScore mean = mean_of_tasks({&all, &all});
  EXPECT_EQ(mean.interval.value, 1);
  EXPECT_LT(mean.interval.low, 0.95);
  EXPECT_GT(mean.interval.low, expected.low - 0.02);
  for (AnswerRow& row : rows) row.grade.score = 0;
  const Interval none = score_task(measure(items, 1, "mean"), rows).metrics[0].interval;
  EXPECT_EQ(none.low, 0);
  EXPECT_EQ(none.high, wilson_interval(0, 20).high);
  EXPECT_EQ(wilson_of_share(0.8, 10).low, wilson_interval(8, 10).low);
}

TEST(TaskScore, CountsWhatIsThere) {
  const std::vector<AnswerRow> rows = {answer("a", 0, 1, "x"), answer("a", 1, 0, "y"),
                                       answer("b", 0, 1, "x"), answer("b", 1, std::nullopt, "")};
  const TaskScore mean = score_task(measure({"a", "b"}, 2, "mean"), rows);
  ASSERT_TRUE(mean.whole());
  EXPECT_EQ(mean.metrics.at(0).interval.value, 0.5);
  EXPECT_LE(mean.metrics[0].interval.low, 0.5);
  EXPECT_GE(mean.metrics[0].interval.high, 0.5);
  EXPECT_EQ(mean.unknown, 1);
  EXPECT_EQ(mean.right_unknown, 0.75);
  EXPECT_EQ(mean.empty, 1);
  EXPECT_EQ(score_task(measure({"a", "b"}, 2, "pass@2"), rows).metrics[0].interval.value, 1.0);
  EXPECT_EQ(score_task(measure({"a", "b"}, 2, "all@2"), rows).metrics[0].interval.value, 0.0);
}

TEST(TaskScore, NothingIsAveragedOverMissingAnswers) {
  const std::vector<AnswerRow> rows = {answer("a", 0, 1)};
  const TaskScore score = score_task(measure({"a", "b"}, 1, "mean"), rows);
  EXPECT_EQ(score.missing, 1);
  EXPECT_FALSE(score.whole());
  EXPECT_TRUE(score.metrics.empty());
  // Answers of items that are not asked for do not stand in for them.
  EXPECT_EQ(score_task(measure({"b"}, 1, "mean"), rows).missing, 1);
}

TEST(TaskScore, MajorityTakesTheEarliestOfEquals) {
  const auto of = [](std::vector<AnswerRow> rows) {
    const int64_t n = std::ssize(rows);
    return score_task(measure({"a"}, n, "majority"), rows).metrics.at(0).interval.value;
  };
  EXPECT_EQ(of({answer("a", 0, 0, "x"), answer("a", 1, 1, "y"), answer("a", 2, 1, "y")}), 1);
  EXPECT_EQ(of({answer("a", 0, 0, "x"), answer("a", 1, 1, "y")}), 0);
  EXPECT_EQ(of({answer("a", 0, 0, ""), answer("a", 1, 0, ""), answer("a", 2, 1, "y")}), 1);
}

TEST(TaskScore, GroupsOrItemsCountTheSame) {
  const std::vector<AnswerRow> rows = {answer("a", 0, 1, "", "g"), answer("b", 0, 0, "", "h"),
                                       answer("c", 0, 0, "", "h"), answer("d", 0, 0, "", "h")};
  EXPECT_EQ(score_task(measure({"a", "b", "c", "d"}, 1, "mean"), rows).metrics[0].interval.value,
            0.25);
  const TaskScore groups = score_task(measure({"a", "b", "c", "d"}, 1, "mean", "groups"), rows);
  EXPECT_EQ(groups.metrics[0].interval.value, 0.5);
  ASSERT_EQ(groups.groups.size(), 2u);
  EXPECT_EQ(groups.groups[0].interval.value, 1.0);
}

TEST(TaskScore, PartsAndTheirRatios) {
  std::vector<AnswerRow> rows = {answer("a", 0, 0), answer("b", 0, 1)};
  rows[0].grade.parts["followed"] = 0.5;
  rows[0].grade.parts["count"] = 2;
  rows[1].grade.parts["followed"] = 1;
  rows[1].grade.parts["count"] = 4;
  const auto value = [&](const char* metric) {
    return score_task(measure({"a", "b"}, 1, metric), rows).metrics.at(0).interval.value;
  };
  EXPECT_EQ(value("followed"), 0.75);
  EXPECT_NEAR(value("followed*count"), 5.0 / 6, 1e-12);
  EXPECT_NEAR(value("followed/count"), 1.5 / 6, 1e-12);
  EXPECT_THROW(value("other"), Error);
}

TEST(TaskScore, MacroF1) {
  std::vector<AnswerRow> rows = {answer("a", 0, 1, "A"), answer("b", 0, 0, "A"),
                                 answer("c", 0, 1, "B")};
  rows[0].expected = "A";
  rows[1].expected = "B";
  rows[2].expected = "B";
  // A: precision 1/2, recall 1; B: precision 1, recall 1/2.
  EXPECT_NEAR(score_task(measure({"a", "b", "c"}, 1, "macro_f1"), rows).metrics[0].interval.value,
              2.0 / 3, 1e-12);
}

// The bootstrap's interval of a share against the normal one: both of the same 400 items.
TEST(TaskScore, IntervalsAreAsWideAsTheyShould) {
  std::vector<AnswerRow> rows;
  std::vector<std::string> items;
  for (int i = 0; i < 400; ++i) {
    items.push_back(std::to_string(i));
    rows.push_back(answer(items.back(), 0, i % 4 == 0 ? 1 : 0));
  }
  const Interval found = score_task(measure(items, 1, "mean"), rows).metrics[0].interval;
  const double half = 1.96 * std::sqrt(0.25 * 0.75 / 400);
  EXPECT_NEAR(found.high - found.low, 2 * half, 0.25 * half);
  EXPECT_EQ(found.low, score_task(measure(items, 1, "mean"), rows).metrics[0].interval.low);
}

TEST(TaskScore, RefusesMetricsThatNeedMoreAnswers) {
  TaskSpec task{.metric = "pass@4"};
  EXPECT_THROW(check_metrics(task, 2, "t"), Error);
  check_metrics(task, 4, "t");
  task.metric = "pass@x";
  EXPECT_THROW(check_metrics(task, 4, "t"), Error);
}

TEST(Compare, McNemarIsTheBinomialTail) {
  EXPECT_EQ(mcnemar_exact(0, 0), 1.0);
  EXPECT_NEAR(mcnemar_exact(0, 5), 2 / 32.0, 1e-12);
  EXPECT_NEAR(mcnemar_exact(1, 7), 2 * 9 / 256.0, 1e-12);
  EXPECT_EQ(mcnemar_exact(4, 4), 1.0);
  EXPECT_EQ(mcnemar_exact(7, 1), mcnemar_exact(1, 7));
}

class Stored : public testing::Test {
 protected:
  void put(const std::string& subject, const std::string& item, double score, int64_t sample = 0) {
    store_.put(subject, answer(item, sample, score));
  }
  void begin(const std::string& subject) {
    store_.begin_subject({subject, Json("model of " + subject), Json::object()});
    store_.begin_measure(subject, measure({"a", "b", "c"}, 1, "mean"));
  }
  TemporaryFolder folder_;
  AnswerStore store_{folder_.path() / "answers.sqlite"};
};

TEST_F(Stored, KeepsEveryField) {
  begin("m");
  AnswerRow row = answer("a", 0, 0.5, "said \x01 한글", "g");
  row.answer.reasoning = "why";
  row.answer.tool_calls.push_back({.id = "c", .name = "f", .arguments = Json::object()});
  row.answer.log_likelihoods = {-1.5, -2};
  row.answer.continuation_tokens = {1, 2};
  row.end = SaidEnd::kLength;
  row.grade.parts["p"] = 1;
  row.messages = parse_json(R"([{"role":"user","content":"q"}])", "m");
  store_.put("m", row);
  const AnswerRow back = store_.answers("m", "t").at(0);
  EXPECT_EQ(back.answer.content, row.answer.content);
  EXPECT_EQ(back.answer.tool_calls, row.answer.tool_calls);
  EXPECT_EQ(back.answer.log_likelihoods, row.answer.log_likelihoods);
  EXPECT_EQ(back.end, SaidEnd::kLength);
  EXPECT_FALSE(back.answer.finished);
  EXPECT_EQ(back.grade.score, 0.5);
  EXPECT_EQ(back.grade.parts, row.grade.parts);
  EXPECT_EQ(back.messages, row.messages);
  EXPECT_TRUE(store_.answered("m", "t").contains({"a", 0}));
}

TEST_F(Stored, RefusesOtherSettingsAndSaysWhich) {
  begin("m");
  put("m", "a", 1);
  MeasureRow other = measure({"a"}, 1, "mean");
  other.settings["seed"] = 5;
  try {
    store_.begin_measure("m", other);
    ADD_FAILURE() << "was taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("seed: 5 is new"), std::string::npos) << error.what();
  }
  EXPECT_THROW(store_.begin_subject({"m", Json("another"), {}}), Error);
  store_.begin_measure("m", measure({"a", "z"}, 4, "mean"));  // items and samples may grow
}

TEST_F(Stored, ComparesPairedItems) {
  begin("one");
  begin("two");
  for (const char* item : {"a", "b", "c"}) {
    put("one", item, 0);
    put("two", item, item[0] == 'b' ? 0 : 1);
  }
  const Comparison found = compare({store_, "one"}, {store_, "two"});
  ASSERT_EQ(found.tasks.size(), 1u);
  const ComparedTask& task = found.tasks[0];
  EXPECT_EQ(task.items, 3);
  EXPECT_EQ(task.better, 2);
  EXPECT_EQ(task.worse, 0);
  EXPECT_NEAR(task.difference.value, 2 / 3.0, 1e-12);
  EXPECT_EQ(task.mcnemar, 0.5);
  EXPECT_EQ(task.flips.size(), 2u);
  EXPECT_NE(comparison_text(found).find("2 gained: a, c"), std::string::npos);
}

TEST_F(Stored, SuiteMeanWantsEveryTask) {
  begin("m");
  Json suite = parse_json(
      R"({"name":"s","title":"S","about":"","seed":1,"tasks":["t","u"],"rivals":[]})", "s");
  store_.set_suite(suite);
  for (const char* item : {"a", "b", "c"}) put("m", item, 1);
  const SubjectResult missing = suite_results(store_).subjects.at(0);
  EXPECT_FALSE(missing.mean.has_value());
  EXPECT_EQ(missing.missing, std::vector<std::string>{"u"});
  suite["tasks"] = parse_json(R"(["t"])", "t");
  store_.set_suite(suite);
  EXPECT_EQ(suite_results(store_).subjects.at(0).mean->interval.value, 1.0);
}

TEST(TaskScore, WhatCouldNotBeGradedIsCountedByItsKind) {
  std::vector<AnswerRow> rows = {answer("a", 0, 1), answer("b", 0, std::nullopt),
                                 answer("c", 0, std::nullopt)};
  rows[1].grade.failure = "died";
  TaskScore some = score_task(measure({"a", "b", "c"}, 1, "mean"), rows);
  EXPECT_TRUE(some.whole());
  EXPECT_EQ(some.unknown, 2);
  EXPECT_EQ(some.ungraded, 1);
  EXPECT_EQ(some.failures.at("died"), 1);
  for (AnswerRow& row : rows) {
    row.grade.score = 0;  // as older files have it
    row.grade.failure = row.item == "a" ? "timeout" : "died";
  }
  const TaskScore none = score_task(measure({"a", "b", "c"}, 1, "mean"), rows);
  EXPECT_FALSE(none.whole()) << "nothing was measured";
  EXPECT_TRUE(none.metrics.empty());
  EXPECT_EQ(none.unknown, 3);
  EXPECT_EQ(none.ungraded, 3);
}

}  // namespace
}  // namespace dure
