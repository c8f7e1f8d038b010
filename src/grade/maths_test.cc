// The conventions of maths_compare.h one by one, answers found in texts, and texts that attack.
#include "grade/maths.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "base/rng.h"
#include "grade/maths_compare.h"
#include "grade/maths_tree.h"

namespace dure {
namespace {

constexpr auto kEqual = MathsVerdict::kEqual;
constexpr auto kNumeric = MathsVerdict::kNumeric;
constexpr auto kUnknown = MathsVerdict::kUnknown;
constexpr auto kDifferent = MathsVerdict::kDifferent;

struct Case {
  const char* reference;
  const char* answer;
  MathsVerdict verdict;
};

void expect_all(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    const MathsComparison found = compare_maths(c.reference, c.answer);
    EXPECT_EQ(static_cast<int>(found.verdict), static_cast<int>(c.verdict))
        << c.reference << "  and  " << c.answer << ": " << found.why;
  }
}

TEST(MathsCompare, Numbers) {
  expect_all({{"0.5", "1/2", kEqual},
              {"1/3", "0.333", kDifferent},
              {"\\pi", "3.14", kDifferent},
              {"\\pi", "3.14159265358979323846", kDifferent},
              {"58,500", "58500", kEqual},
              {"10,\\!080", "10080", kEqual},
              {"10{,}080", "10 080", kEqual},
              {"98,118,122,142", "142, 98, 118, 122", kEqual},
              {"1\\frac{4}{5}", "9/5", kEqual},
              {"137 \\frac{1}{2}", "137 1/2", kEqual},
              {"1\\frac{4}{5}", "4/5", kDifferent},
              {"\\frac59", "\\dfrac{5}{9}", kEqual},
              {"\\frac9{19}", "9/19", kEqual},
              {"6.72 \\times 10^{-5}", ".0000672", kEqual},
              {"6.72e-5", "0.0000672", kEqual},
              {"0.1\\overline{6}", "1/6", kEqual},
              {"52_8", "52", kEqual},
              {"52_8", "52_{8}", kEqual},
              {"52_8", "53", kDifferent},
              {"52_8", "42", kUnknown},
              {"12", "12th", kEqual},
              {"0", "-0", kEqual},
              {"2^{2024}+1", "1+2^{2024}", kEqual},
              {"2^{2024}+1", "2^{2024}", kDifferent},
              {"10^{10^{10}}", "10^{10^{10}}", kEqual},
              {"10^{10^{10}}", "10^{10^{10}}+1", kUnknown}});
}

TEST(MathsCompare, Radicals) {
  expect_all({{"\\frac{7}{2\\sqrt{30}}", "\\frac{7\\sqrt{30}}{60}", kEqual},
              {"\\frac{1}{1+\\sqrt2}", "\\sqrt{2}-1", kEqual},
              {"\\sqrt{3+2\\sqrt2}", "1+sqrt(2)", kEqual},
              {"\\sqrt{\\sqrt{13}}", "13^{1/4}", kEqual},
              {"\\sqrt[3]{-8}", "-2", kEqual},
              {"\\sqrt{13}", "√13", kEqual},
              {"\\sqrt[3]{2+\\sqrt5}+\\sqrt[3]{2-\\sqrt5}", "1", kNumeric},
              {"\\sqrt{-3}", "i\\sqrt3", kEqual},
              {"(1+i)^2", "2i", kEqual},
              {"11\\sqrt2", "11*sqrt(3)", kDifferent},
              {"\\sqrt{53}", "7.280109889280518", kDifferent},
              {"e^{\\pi\\sqrt{163}}", "262537412640768744", kUnknown},
              {"e^{i\\pi}", "-1", kNumeric}});
}

TEST(MathsCompare, Expressions) {
  expect_all({{"(x+1)^2", "x^2+2x+1", kEqual},
              {"(x+1)^{20}", "(1+x)^{19}", kDifferent},
              {"\\frac{x^2-1}{x-1}", "x+1", kEqual},
              {"\\cot x", "1/\\tan x", kEqual},
              {"\\sin^2 x+\\cos^2 x", "1", kEqual},
              {"\\sin 2x", "2\\sin x\\cos x", kNumeric},
              {"\\sin x", "\\cos x", kDifferent},
              {"\\cos 36^\\circ", "(1+\\sqrt5)/4", kEqual},
              {"\\ln 8", "3\\ln 2", kEqual},
              {"\\log_2 8", "3", kEqual},
              {"\\log 100", "2", kUnknown},
              {"4^n", "2^{2n}", kEqual},
              {"2^{n+1}", "2\\cdot2^n", kEqual},
              {"\\binom{n}{2}", "n(n-1)/2", kEqual},
              {"\\binom{2k}{k}", "\\frac{(2k)!}{(k!)^2}", kNumeric},
              {"\\lfloor \\frac{a+2}{2}\\rfloor", "1+\\lfloor a/2\\rfloor", kEqual},
              {"|x-1|", "|1-x|", kEqual},
              {"x", "\\sqrt{x^2}", kUnknown},
              {"1/2x", "x/2", kEqual},
              {"1/2x", "\\frac{1}{2x}", kEqual},
              {"3R^2", "3r^2", kDifferent},
              {"(2k)^3", "8k^3", kEqual}});
}

TEST(MathsCompare, EquationsAndInequalities) {
  expect_all({{"x=5", "5", kEqual},
              {"5", "x=5", kEqual},
              {"x=5", "y=5", kUnknown},
              {"y = 2x + 3", "2x+3", kEqual},
              {"y = 2x + 3", "2x-y+3=0", kEqual},
              {"y = 2x + 3", "y = \\frac12x+\\frac32", kDifferent},
              {"5x-7y+4=0", "-10x+14y=8", kEqual},
              {"5x-7y+4=0", "5x-7y-4=0", kDifferent},
              {"3a^2-b^2=3", "a^2-b^2/3=1", kEqual},
              {"3a^2-b^2=3", "3a^2-b^2=4", kUnknown},
              {"f(x)=x+1", "f(n)=n+1", kEqual},
              {"f(x)=x+1", "x+2", kDifferent},
              {"x>3", "(3,\\infty)", kEqual},
              {"0<k\\le\\frac49", "(0,4/9]", kEqual},
              {"0<k\\le\\frac49", "0<k<4/9", kDifferent},
              {"x \\in [-2,7]", "[-2, 7]", kEqual},
              {"5", "2+3=5", kEqual},
              {"5", "x = 2+3 = 5", kEqual},
              {"5", "4=5", kUnknown},
              {"5", "x=4=5", kUnknown},
              {"0", "5x-7y=0", kUnknown},
              {"3", "x \\approx 3", kEqual},
              {"2:3", "2/3", kEqual},
              {"(1,2)", "x=1, y=2", kEqual},
              {"(1,2)", "x=2, y=1", kDifferent},
              {"(1,2)", "y=2, x=1", kUnknown},
              {"x=1,y=2", "y=2, x=1", kEqual},
              {"x=1,y=2", "2,1", kUnknown}});
}

TEST(MathsCompare, Collections) {
  expect_all({{"(-1,6)", "(-1, 6)", kEqual},
              {"(-1,6)", "[-1,6]", kDifferent},
              {"(1,2,3)", "[1,2,3]", kEqual},
              {"(1,2,3)", "(1,3,2)", kDifferent},
              {"3, 5, 7", "7, 3 and 5", kEqual},
              {"3, 5, 7", "\\{3,5,7\\}", kEqual},
              {"3, 5, 7", "3, 5", kDifferent},
              {"6,6,5", "6,5,6", kUnknown},
              {"\\{1,1,2\\}", "\\{2,1\\}", kEqual},
              {"1\\pm\\sqrt{19}", "1-\\sqrt{19}, 1+\\sqrt{19}", kEqual},
              {"1\\pm\\sqrt{19}", "1+\\sqrt{19}", kDifferent},
              {"\\{1\\pm\\sqrt5,-2\\}", "-2,1+\\sqrt5,1-\\sqrt5", kEqual},
              {"(-\\infty,2)\\cup(3,\\infty)", "x<2 \\text{ or } x>3", kEqual},
              {"(-\\infty,2)\\cup(3,\\infty)", "(-\\infty,2]\\cup[3,\\infty)", kDifferent},
              {"(0,9)\\cup(9,36)", "(0,36)\\setminus\\{9\\}", kEqual},
              {"(2,12) \\cup (12,102)", "(2,102)", kDifferent},
              {"\\mathbb{R}", "(-\\infty,\\infty)", kEqual},
              {"\\begin{pmatrix}1/5\\\\-18/5\\end{pmatrix}", "(0.2,-3.6)", kEqual},
              {"\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}",
               "\\begin{bmatrix}1&0\\\\0&-1\\end{bmatrix}", kDifferent},
              {"0,3,\\ldots,9", "0,3,6,9", kUnknown},
              {"\\infty", "-\\infty", kDifferent}});
}

TEST(MathsCompare, UnitsAndWords) {
  expect_all({{"50\\%", "50", kEqual},
              {"50\\%", "0.5", kEqual},
              {"50\\%", "60%", kDifferent},
              {"90^\\circ", "90", kEqual},
              {"90^\\circ", "\\frac{\\pi}{2}", kEqual},
              {"15\\mbox{ cm}^2", "15", kEqual},
              {"864 \\mbox{ inches}^2", "864 square inches", kEqual},
              {"5.4 \\text{ cents}", "\\$5.4", kUnknown},
              {"36^\\circ", "\\$36", kUnknown},
              {"60", "60 km/h", kEqual},
              {"5", "5 m", kUnknown},
              {"5", "6 m", kDifferent},
              {"\\$32,\\!348", "$32348", kEqual},
              {"\\text{Evelyn}", "evelyn.", kEqual},
              {"\\text{Evelyn}", "Angela", kDifferent},
              {"\\text{(C)}", "C", kEqual},
              {"\\text{(C)}", "(C) ellipse", kEqual},
              {"\\text{(C)}", "(B) parabola", kDifferent},
              {"\\text{even}", "1", kDifferent},
              {"no solutions", "none", kUnknown},
              {"5", "five", kUnknown},
              {"5", "", kDifferent},
              {"a", "a", kEqual}});
}

TEST(MathsTree, Reads) {
  const auto tree = [](const char* text) {
    const MathsReadings readings = read_maths(text);
    return readings.list.empty() ? "none" : maths_text(readings.list[0].tree);
  };
  EXPECT_EQ(tree("$2x + 1$."), "(+ (* 2 x) 1)");
  EXPECT_EQ(tree("\\frac12"), "(/ 1 2)");
  EXPECT_EQ(tree("(-\\infty, 0]"), "(tuple:(] (* -1 (oo)) 0)");
  EXPECT_EQ(tree("a_{ij}"), "a_ij");
  EXPECT_EQ(tree("\\sin^{-1} x"), "(call:arcsin x)");
  EXPECT_EQ(tree("2^{25} 26!"), "(* (^ 2 25) (call:factorial 26))");
  EXPECT_EQ(tree("n is prime"), "none");
  EXPECT_EQ(tree("\\sum_{k} k"), "none");
  EXPECT_EQ(read_maths("1,234").list.size(), 2U);
}

TEST(MathsAnswer, IsFound) {
  EXPECT_EQ(maths_answer("\\boxed{1}, no: \\boxed{\\frac{1}{2}}."), "\\frac{1}{2}");
  EXPECT_EQ(maths_answer("$x = \\boxed{1}$ and $\\boxed{2}$"), "1, 2");
  EXPECT_EQ(maths_answer("so \\boxed{a\\}} and \\boxed{3"), "a\\}");
  EXPECT_EQ(maths_answer("\\boxed 5$"), "5");
  EXPECT_EQ(maths_answer("First 3.\nThe final answer is $\\frac{3}{4}$. Done.\n"), "\\frac{3}{4}");
  EXPECT_EQ(maths_answer("**Answer:** 17\n"), "17");
  EXPECT_EQ(maths_answer("따라서 정답: 12"), "12");
  EXPECT_EQ(maths_answer("We get $a=1$, hence $b=2$."), "b=2");
  EXPECT_EQ(maths_answer("We get \\(a=1\\)."), "a=1");
  EXPECT_EQ(maths_answer("thus\n42\n"), "42");
  EXPECT_EQ(maths_answer(""), "");
}

TEST(MathsGrader, Grades) {
  const auto grader = [](const char* spec) {
    return make_grader(standard_graders(), parse_json(spec, "test"), {}, "test");
  };
  const auto plain = grader(R"({"name":"maths"})");
  Item item{.id = "1", .reference = "\\frac{14}{3}"};
  plain->check(item);
  Grade grade = plain->grade(item, {.content = "So \\boxed{14/3}."});
  EXPECT_EQ(grade.score, 1.0);
  EXPECT_EQ(grade.extracted, "14/3");
  EXPECT_EQ(grade.parts.at("proven").as_int(), 1);
  EXPECT_EQ(plain->grade(item, {.content = "\\boxed{4.67}"}).score, 0.0);
  EXPECT_FALSE(plain->grade(item, {.content = "\\boxed{\\sum x}"}).score.has_value());
  const auto boxed = grader(R"({"name":"maths","boxed_only":true})");
  EXPECT_EQ(boxed->grade(item, {.content = "14/3"}).score, 0.0);
  const auto near = grader(R"({"name":"maths","relative_tolerance":0.01})");
  EXPECT_EQ(near->grade(item, {.content = "4.67"}).score, 1.0);
  EXPECT_EQ(near->grade(item, {.content = "4.8"}).score, 0.0);
  item.reference = Json::array_of(std::vector<std::string>{"2", "3"});
  EXPECT_EQ(plain->grade(item, {.content = "3"}).score, 1.0);
  item.reference = 3;
  EXPECT_EQ(plain->grade(item, {.content = "3.0"}).score, 1.0);
  item.reference = " ";
  EXPECT_THROW(plain->check(item), Error);
  item.reference = Json();
  EXPECT_THROW(plain->check(item), Error);
}

TEST(MathsHostile, LargeAndDeep) {
  const auto times = [](const std::string& part, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += part;
    return out;
  };
  for (const std::string& text : {times("(", 100'000),
                                  times("{", 3900),
                                  times("\\frac", 700),
                                  times("\\sqrt", 700) + "2",
                                  times("!", 3900),
                                  times("-", 3900) + "1",
                                  "2" + times("!", 30),
                                  times("x^", 1500) + "x",
                                  times("1/", 1500) + "3",
                                  times("1*", 1500) + "3",
                                  times("|", 900),
                                  times("x", 3900),
                                  times("1+\\sqrt{", 50) + "2" + times("}", 50),
                                  std::string("(a+b+c+d+e+f)^{30}"),
                                  std::string("(x+1)^{1000}"),
                                  std::string("9^{9^{9^9}}"),
                                  std::string("1000000!"),
                                  std::string("\\binom{100000}{50000}"),
                                  std::string("1e999999999"),
                                  times("7", 3900),
                                  times("7", 100'000),
                                  times("\\boxed{", 100'000),
                                  std::string("\\log_{1} 5"),
                                  std::string("1/0"),
                                  std::string("0^0"),
                                  std::string("0^{-1}"),
                                  std::string("\\frac{1}{\\sin \\pi}"),
                                  std::string("\\sqrt[0]{2}"),
                                  std::string("\\sqrt[10000000]{2}"),
                                  std::string("\\ln 0"),
                                  std::string("x_{"),
                                  std::string("\\begin{pmatrix}1\\\\"),
                                  std::string("\\text{"),
                                  std::string("\\")}) {
    EXPECT_NE(compare_maths("5", text).verdict, kEqual) << text.substr(0, 60);
    compare_maths(text, text + "+x");
    maths_answer(text);
  }
}

// Random pieces of LaTeX, then random bytes: never a crash, and never equal to a number that no one
// wrote.
TEST(MathsHostile, RandomTexts) {
  static constexpr const char* kParts[] = {"\\frac",
                                           "{",
                                           "}",
                                           "(",
                                           ")",
                                           "[",
                                           "]",
                                           "\\sqrt",
                                           "^",
                                           "_",
                                           "1",
                                           "23",
                                           "x",
                                           "y",
                                           "+",
                                           "-",
                                           "*",
                                           "/",
                                           ",",
                                           "\\pi",
                                           "i",
                                           "e",
                                           "\\sin",
                                           "!",
                                           "|",
                                           "\\{",
                                           "\\}",
                                           "\\cup",
                                           "\\infty",
                                           "=",
                                           "<",
                                           " ",
                                           ".5",
                                           "\\pm",
                                           "%",
                                           "\\circ",
                                           "\\text{cm}",
                                           "\\binom",
                                           "\\log",
                                           "\\begin{pmatrix}",
                                           "\\\\",
                                           "&",
                                           "\\end{pmatrix}",
                                           "\\lfloor",
                                           "\\rfloor",
                                           "\\ldots",
                                           "\\in",
                                           "\\setminus",
                                           "n",
                                           "2",
                                           "0"};
  Rng rng(11);
  for (int round = 0; round < 6000; ++round) {
    std::string text;
    for (int64_t k = rng.between(1, 14); k > 0; --k)
      text += kParts[rng.below(static_cast<int64_t>(std::size(kParts)))];
    EXPECT_NE(compare_maths("731/977", text).verdict, kEqual) << text;
    compare_maths(text, text + " ");
  }
  for (int round = 0; round < 2000; ++round) {
    std::string text(static_cast<size_t>(rng.below(60)), ' ');
    for (char& c : text) c = static_cast<char>(rng.next_u32());
    EXPECT_NE(compare_maths("731/977", text).verdict, kEqual);
    maths_answer(text);
  }
}

}  // namespace
}  // namespace dure
