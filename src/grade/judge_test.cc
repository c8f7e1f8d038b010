// What a judge is asked, and what is read out of its reply.
#include "grade/judge.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace dure {
namespace {

TEST(Judge, ReadsVerdicts) {
  using enum JudgeForm;
  EXPECT_EQ(read_verdict(kRightOrWrong, "They agree.\nVerdict: **correct**"), 1.0);
  EXPECT_EQ(read_verdict(kRightOrWrong, "It is correct at first.\nVerdict: incorrect."), 0.0);
  EXPECT_EQ(read_verdict(kRightOrWrong, "INCORRECT"), 0.0);
  EXPECT_EQ(read_verdict(kRightOrWrong, "The answer is not correct."), 0.0);
  EXPECT_EQ(read_verdict(kRightOrWrong, "I cannot say."), std::nullopt);
  EXPECT_EQ(read_verdict(kYesOrNo, "verdict - Yes"), 1.0);
  EXPECT_EQ(read_verdict(kYesOrNo, "There is no doubt.\nVerdict: yes"), 1.0);
  EXPECT_EQ(read_verdict(kYesOrNo, "north"), std::nullopt);
  EXPECT_EQ(read_verdict(kOneToTen, "Verdict: 7/10"), 0.7);
  EXPECT_EQ(read_verdict(kOneToTen, "Verdict: [[10]]"), 1.0);
  EXPECT_EQ(read_verdict(kOneToTen, "Verdict: 11"), std::nullopt);
  EXPECT_EQ(read_verdict(kOneToTen, ""), std::nullopt);
}

TEST(Judge, FillsNamesOnceAndNothingElse) {
  const Json values = parse_json(R"({"answer": "{{ expected }}", "expected": 4})", "values");
  EXPECT_EQ(filled("{{answer}} {{ expected }} {{ other }} {{", values),
            "{{ expected }} 4 {{ other }} {{");
}

TEST(Judge, GradesByWhatTheJudgeSays) {
  std::string asked, reply = "Verdict: correct";
  GraderTable table;
  add_judge_graders(table);
  const GraderWorld world{.ask_judge = [&](const std::vector<Message>& messages) {
    asked = messages.back().content;
    return reply;
  }};
  const auto grader = make_grader(table, Json("judge"), world, "task t: grader");
  const Item item{
      .id = "1", .messages = {{.role = Role::kUser, .content = "2+2?"}}, .reference = Json("4")};
  EXPECT_EQ(grader->grade(item, {.content = "four"}).score, 1.0);
  for (const char* part : {"2+2?", "four", "4"}) EXPECT_NE(asked.find(part), std::string::npos);
  reply = "hm";
  const Grade unknown = grader->grade(item, {.content = "four"});
  EXPECT_EQ(unknown.score, std::nullopt);
  EXPECT_NE(unknown.reason.find("hm"), std::string::npos);
  asked.clear();
  EXPECT_EQ(grader->grade(item, {}).score, 0.0);
  EXPECT_TRUE(asked.empty());
  EXPECT_THROW(make_grader(table, Json("judge"), {}, "t"), Error);
  EXPECT_THROW(make_grader(table, parse_json(R"({"name":"judge","form":"x"})", "t"), world, "t"),
               Error);
}

}  // namespace
}  // namespace dure
