// What each style of `match` takes for equal; difflib's ratio against values that Python gives.
#include "grade/match.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "grade/normal_text.h"

namespace dure {
namespace {

std::optional<double> score(const std::string& options, const Json& reference,
                            const std::string& answer) {
  const auto grader = make_grader(
      standard_graders(), parse_json(R"({"name":"match",)" + options + "}", "test"), {}, "test");
  const Item item{.id = "1", .reference = reference};
  grader->check(item);
  return grader->grade(item, {.content = answer}).score;
}

TEST(Match, Texts) {
  EXPECT_EQ(score(R"("style":"exact")", "Paris", " Paris\n"), 1.0);
  EXPECT_EQ(score(R"("style":"exact")", "Paris", "paris"), 0.0);
  EXPECT_EQ(score(R"("style":"normalised")", "The  Eiffel-Tower", "eiffeltower!"), 1.0);
  EXPECT_EQ(score(R"("style":"normalised")", "Ångström", "a\xCC\x8Angstro\xCC\x88m"), 1.0);
  EXPECT_EQ(score(R"("style":"normalised","ignore_case":false)", "Paris", "paris"), 0.0);
  EXPECT_EQ(
      score(R"("style":"normalised")", Json::array_of(std::vector<std::string>{"a b", "c"}), "C."),
      1.0);
  EXPECT_EQ(score(R"("style":"contains")", "서울", "수도는 서울이다."), 1.0);
  EXPECT_EQ(score(R"("style":"contains")", "...", "anything"), 0.0);
  EXPECT_EQ(score(R"("style":"pattern","pattern":"<a>(.*?)</a>")", "x", "<a>y</a> <a>X</a>"), 1.0);
  EXPECT_EQ(score(R"("style":"pattern","pattern":"<a>(.*?)</a>","first_match":true)", "x",
                  "<a>y</a> <a>x</a>"),
            0.0);
  EXPECT_THROW(score(R"("style":"exact")", Json(), ""), Error);
  EXPECT_THROW(score(R"("style":"exact")", Json::array(), ""), Error);
  EXPECT_THROW(score(R"("style":"exakt")", "x", ""), Error);
}

TEST(Match, Numbers) {
  EXPECT_EQ(score(R"("style":"gsm8k")", "1,234", "so\n#### 1234"), 1.0);
  EXPECT_EQ(score(R"("style":"gsm8k")", 18, "#### 18."), 0.0);  // the published rule keeps the stop
  EXPECT_EQ(score(R"("style":"gsm8k")", 18, "It is 18"), 0.0);
  EXPECT_EQ(score(R"("style":"gsm8k","prefix":"A:")", 18, "#### 3\nA: 18"), 1.0);
  EXPECT_EQ(score(R"("style":"gsm8k_flexible")", "1234", "First 2, then $1,234."), 1.0);
  EXPECT_EQ(score(R"("style":"gsm8k_flexible")", "-5", "it is -5"), 1.0);
  EXPECT_EQ(score(R"("style":"bbh")", "(B)", "the answer is (A). No, the answer is (B)."), 1.0);
  EXPECT_EQ(score(R"("style":"bbh")", "False", "It is False."), 0.0);
  EXPECT_EQ(score(R"("style":"mgsm","language":"ja")", 18, "答え: 3 と 18.00 です"), 1.0);
  EXPECT_EQ(score(R"("style":"mgsm","language":"de")", 1800, "Antwort: 1,800."), 1.0);
  EXPECT_EQ(score(R"("style":"mgsm","language":"de")", 18, "Answer: 18"), 0.0);
  EXPECT_THROW(score(R"("style":"mgsm","language":"xx")", 18, ""), Error);
  EXPECT_EQ(score(R"("style":"integer")", "73", "We get 5, so \\boxed{073}."), 1.0);
  EXPECT_EQ(score(R"("style":"integer")", 73, "73 or 74"), 0.0);
  EXPECT_EQ(score(R"("style":"integer")", "-2", "x = -2"), 1.0);
  EXPECT_THROW(score(R"("style":"integer")", "1.5", ""), Error);
}

TEST(Match, Hendrycks) {
  EXPECT_TRUE(hendrycks_equal("\\frac12", "\\dfrac{1}{2}"));
  EXPECT_TRUE(hendrycks_equal("1/2", "\\tfrac{1}{2}"));
  EXPECT_TRUE(hendrycks_equal("0.5", "\\frac{1}{2}"));
  EXPECT_TRUE(hendrycks_equal("x=5", "5"));
  EXPECT_TRUE(hendrycks_equal("\\sqrt3", "\\sqrt{3}"));
  EXPECT_TRUE(hendrycks_equal("90^\\circ", "90"));
  EXPECT_TRUE(hendrycks_equal("5\\text{ cm}", "5"));
  EXPECT_TRUE(hendrycks_equal(".5", "0.5"));
  EXPECT_FALSE(hendrycks_equal("073", "73"));
  EXPECT_FALSE(hendrycks_equal("2x+1", "1+2x"));
  EXPECT_FALSE(hendrycks_form("\\frac").has_value());
  EXPECT_FALSE(hendrycks_form("1\\sqrt").has_value());
  EXPECT_EQ(score(R"("style":"hendrycks")", "73", "so $x$ is $73$"), 0.0);  // from first to last $
  EXPECT_EQ(score(R"("style":"hendrycks")", "73", "so $73$"), 1.0);
  EXPECT_EQ(
      score(R"("style":"hendrycks")", "\\frac{1}{2}", "\\boxed{1} then \\boxed{\\frac{1}{2}}"),
      1.0);
}

TEST(Match, LastBoxed) {
  EXPECT_EQ(last_boxed("\\boxed{a{b}c} and \\boxed{d"), std::nullopt);
  EXPECT_EQ(last_boxed("\\boxed{1} \\boxed{a{b}c}"), "a{b}c");
  EXPECT_EQ(last_boxed("$\\boxed 5$ is it"), "5");
  EXPECT_EQ(last_boxed("\\fbox{7}"), "7");
  EXPECT_EQ(last_boxed("none"), std::nullopt);
}

// The right-hand sides: Python 3.11, difflib.SequenceMatcher(None, a, b).ratio().
TEST(Match, SequenceRatio) {
  EXPECT_EQ(sequence_ratio("", ""), 1.0);
  EXPECT_EQ(sequence_ratio("abc", ""), 0.0);
  EXPECT_DOUBLE_EQ(*sequence_ratio("abcd", "bcde"), 0.75);
  EXPECT_DOUBLE_EQ(*sequence_ratio("가나다라", "나다라마"), 0.75);
  EXPECT_DOUBLE_EQ(*sequence_ratio("qabxcd", "abycdf"), 0.6666666666666666);
  // Of 300 characters every one is popular: only what the ends share is found.
  std::string a, b;
  for (int i = 0; i < 300; ++i) {
    a += static_cast<char>('a' + i * 7 % 26);
    b += static_cast<char>('a' + i * 11 % 26);
  }
  EXPECT_DOUBLE_EQ(*sequence_ratio(a, b), 0.0033333333333333335);
  EXPECT_DOUBLE_EQ(*sequence_ratio("x" + a, a), 0.0);
}

TEST(Match, Mrcr) {
  const auto grader = make_grader(standard_graders(),
                                  parse_json(R"({"name":"match","style":"mrcr"})", "t"), {}, "t");
  Item item{.id = "1",
            .reference = "Xy7abcd",
            .fields = parse_json(R"({"random_string_to_prepend":"Xy7"})", "t")};
  EXPECT_EQ(grader->grade(item, {.content = "Xy7bcde"}).score, 0.75);
  EXPECT_EQ(grader->grade(item, {.content = "abcd"}).score, 0.0);
  item.fields = Json();
  EXPECT_THROW(grader->check(item), Error);
}

TEST(Match, Ruler) {
  const Json references = Json::array_of(std::vector<std::string>{"7421", "Blue"});
  EXPECT_EQ(score(R"("style":"ruler")", references, "7421 only"), 0.5);
  EXPECT_EQ(score(R"("style":"ruler")", references, "BLUE and 7421"), 1.0);
  EXPECT_EQ(score(R"("style":"ruler_any")", references, "blue"), 1.0);
}

TEST(Match, RandomBytesEnd) {
  Rng rng(3);
  for (const auto& [style, name] : enum_names(MatchStyle{})) {
    if (style == MatchStyle::kPattern || style == MatchStyle::kMrcr) continue;
    const std::string option = std::string(R"("style":")") + name + '"';
    for (int round = 0; round < 40; ++round) {
      std::string text(static_cast<size_t>(rng.next_u32() % 100), ' ');
      for (char& c : text)
        c = "\\frac{}sqrtboxed$#### 0123456789.,=/-\xff\xed\n"[rng.next_u32() % 44];
      score(option, "5", text);
    }
  }
}

}  // namespace
}  // namespace dure
