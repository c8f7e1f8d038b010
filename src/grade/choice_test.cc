// Letters as each style reads them, whatever the answer holds; letters beyond the options;
// likelihoods by length.
#include "grade/choice.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"

namespace dure {
namespace {

std::string letter(ChoiceStyle style, std::string_view answer) {
  const auto found = ChoiceReader({.style = style}, "test").letter(answer);
  return found ? std::string(1, *found) : "";
}

TEST(Choice, MmluProInStages) {
  const auto read = [](std::string_view text) { return letter(ChoiceStyle::kMmluPro, text); };
  EXPECT_EQ(read("First B. The answer is (C). The answer is (D)."), "C");
  EXPECT_EQ(read("answer is J"), "J");
  EXPECT_EQ(read("A or B.\nAnswer: D, Answer: E\nAnswer: F"), "E");  // .* takes the line's last
  EXPECT_EQ(read("It is B, not C\nbut D"), "D");
  EXPECT_EQ(read("it is not known"), "");
  EXPECT_EQ(read("the answer is K"), "");
  EXPECT_EQ(read("CAT"), "");
  EXPECT_EQ(read(""), "");
}

TEST(Choice, OtherPublishedStyles) {
  EXPECT_EQ(letter(ChoiceStyle::kSimpleEvals, "ANSWER : $b$ and Answer: C"), "B");
  EXPECT_EQ(letter(ChoiceStyle::kSimpleEvals, "Answer:\nC"), "");
  EXPECT_EQ(letter(ChoiceStyle::kGpqa, "(A) is wrong, so (C)"), "C");
  EXPECT_EQ(letter(ChoiceStyle::kKmmluCot, "따라서 정답은 (B) 최저임금 입니다."), "B");
  EXPECT_EQ(letter(ChoiceStyle::kMmmlu, "**정답: C**"), "C");
  EXPECT_EQ(letter(ChoiceStyle::kMmmlu, "答え：Ｂ"), "B");
  EXPECT_EQ(letter(ChoiceStyle::kMmmlu, "Antwort: $\\boxed{D}$"), "D");
  EXPECT_EQ(letter(ChoiceStyle::kMmmlu, "الإتابة: ج"),
            "");  // a range holds letters that are no option
  EXPECT_EQ(letter(ChoiceStyle::kMmmlu, "الإجابة: ج"), "C");
}

TEST(Choice, KoreanStyles) {
  EXPECT_EQ(letter(ChoiceStyle::kKmmluPro, "정답: A 일까? 아니다.\n정답: B"), "B");
  EXPECT_EQ(letter(ChoiceStyle::kKmmluPro, "**정답: (C)**"), "C");
  EXPECT_EQ(letter(ChoiceStyle::kKmmluPro, "정답：③"), "C");
  EXPECT_EQ(letter(ChoiceStyle::kKmmluPro, "정답: 2번"), "B");
  EXPECT_EQ(letter(ChoiceStyle::kKmmluPro, "생각해 보면\nD."), "D");
  EXPECT_EQ(letter(ChoiceStyle::kKmmluPro, "A와 B 중에서 고른다"), "");
  EXPECT_EQ(letter(ChoiceStyle::kKobalt, "정답은 [A]입니다. 아니, 정답은 [J]입니다."), "J");
  EXPECT_EQ(letter(ChoiceStyle::kClick, "B. 서울"), "B");
  EXPECT_EQ(letter(ChoiceStyle::kClick, "생각해 보면 정답은 C입니다. A는 아니다."), "C");
  EXPECT_EQ(letter(ChoiceStyle::kClick, "서울이므로 D가 맞다"), "D");
}

std::unique_ptr<Grader> grader(const char* spec) {
  return make_grader(standard_graders(), parse_json(spec, "test"), {}, "test");
}

TEST(Choice, Grades) {
  const auto plain = grader(R"({"name":"choice","style":"mmlu_pro"})");
  Item item{.id = "1", .reference = "C", .fields = parse_json(R"({"options":["x","y","z"]})", "t")};
  EXPECT_EQ(plain->grade(item, {.content = "The answer is (C)."}).score, 1.0);
  EXPECT_EQ(plain->grade(item, {.content = "The answer is (B)."}).extracted, "B");
  EXPECT_EQ(plain->grade(item, {.content = "The answer is (D)."}).reason,
            "D is beyond the 3 options");
  EXPECT_EQ(plain->grade(item, {.content = ""}).score, 0.0);
  item.reference = 2;
  EXPECT_EQ(plain->grade(item, {.content = "The answer is (C)."}).score, 1.0);
  item.reference = 3;
  EXPECT_THROW(plain->check(item), Error);
  item.reference = "c";
  EXPECT_THROW(plain->check(item), Error);
  item.reference = Json();
  EXPECT_THROW(plain->grade(item, {}), Error);
  EXPECT_THROW(grader(R"({"name":"choice","style":"pattern"})"), Error);
  EXPECT_THROW(grader(R"x({"name":"choice","pattern":"(A)"})x"), Error);
  EXPECT_THROW(grader(R"x({"name":"choice","style":"pattern","pattern":"("})x"), Error);
}

TEST(Choice, ByOptionTextAndOwnPattern) {
  const auto by_text = grader(R"({"name":"choice","style":"simple_evals","option_text":"after"})");
  const Item item{.id = "1",
                  .reference = 2,
                  .fields = parse_json(R"({"options":["rain","snow","black ice"]})", "t")};
  EXPECT_EQ(by_text->grade(item, {.content = "Hm.\nIt is Black  ice!\n"}).extracted, "C");
  EXPECT_EQ(by_text->grade(item, {.content = "snow"}).extracted, "B");
  EXPECT_EQ(by_text->grade(item, {.content = "rain or snow"}).extracted, "");
  EXPECT_EQ(by_text->grade(item, {.content = "training"}).extracted, "");
  const auto own =
      grader(R"({"name":"choice","style":"pattern","pattern":"<([{L}])>","letters":3})");
  EXPECT_EQ(own->grade(item, {.content = "<A> <C> <D>"}).extracted, "C");
}

TEST(Choice, HostileAnswersEnd) {
  Rng rng(7);
  for (int style = 0; style < static_cast<int>(ChoiceStyle::kPattern); ++style) {
    const ChoiceReader reader({.style = static_cast<ChoiceStyle>(style)}, "test");
    for (const char* part : {"Answer: ", "정답은 (", "A ", "\n", "\xff\xfe", "(A", "answer is "}) {
      std::string text;
      while (text.size() < 300'000) text += part;
      reader.letter(text);
    }
    for (int round = 0; round < 50; ++round) {
      std::string text(static_cast<size_t>(rng.next_u32() % 200), ' ');
      for (char& c : text) c = static_cast<char>(rng.next_u32());
      reader.letter(text);
    }
  }
}

TEST(ChoiceLikelihood, ByLength) {
  const Item item{.id = "1", .continuations = {" aa", " bbbbbbbb", " 가"}, .reference = 1};
  const Answer answer{.log_likelihoods = {-2.0, -3.0, -2.5}, .continuation_tokens = {1, 2, 2}};
  const Grade plain = grader(R"({"name":"choice_likelihood"})")->grade(item, answer);
  EXPECT_EQ(plain.score, 0.0);
  EXPECT_EQ(plain.extracted, "A");
  const Grade by_bytes =
      grader(R"({"name":"choice_likelihood","norm":"bytes"})")->grade(item, answer);
  EXPECT_EQ(by_bytes.score, 1.0);
  EXPECT_EQ(by_bytes.parts.at("acc").as_double(), 0.0);
  EXPECT_EQ(by_bytes.parts.at("acc_characters").as_double(), 1.0);
  EXPECT_EQ(by_bytes.parts.at("acc_tokens").as_double(), 0.0);
  const Grade missing =
      grader(R"({"name":"choice_likelihood"})")->grade(item, {.log_likelihoods = {-1.0}});
  EXPECT_FALSE(missing.score.has_value());
  const Grade no_tokens = grader(R"({"name":"choice_likelihood","norm":"tokens"})")
                              ->grade(item, {.log_likelihoods = {-2.0, -3.0, -2.5}});
  EXPECT_FALSE(no_tokens.score.has_value());
}

}  // namespace
}  // namespace dure
