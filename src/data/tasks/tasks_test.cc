// Tasks: worked answers verify, wrong ones do not, splits never mix, wording is complete.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/testing.h"
#include "data/tasks/dialogue.h"
#include "data/tasks/draft.h"
#include "data/tasks/mixture.h"
#include "data/tasks/phrasing.h"

namespace dure {
namespace {

Problem problem_at(const TaskMixture& mixture, Split split, uint64_t seed, uint64_t index) {
  Rng rng(seed, stream_id("test problem", index));
  return make_problem(mixture, split, rng);
}

// An independent reading of the prompt: every maximal run of digits.
std::vector<int64_t> numbers_in(const std::string& text) {
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < text.size();) {
    if (!isdigit(static_cast<unsigned char>(text[i]))) {
      ++i;
      continue;
    }
    int64_t value = 0;
    for (; i < text.size() && isdigit(static_cast<unsigned char>(text[i])); ++i)
      value = value * 10 + (text[i] - '0');
    numbers.push_back(value);
  }
  return numbers;
}

TEST(Tasks, SplitsNeverMixOverAHundredThousandProblems) {
  TaskMixture narrow;  // Small problems, so that keys repeat often and a leak would show.
  narrow.addition.digits_min = narrow.subtraction.digits_min = 1;
  narrow.addition.digits_max = narrow.subtraction.digits_max = 2;
  narrow.sorting.value_max = 9;
  narrow.reversing.length_min = 3;
  narrow.reversing.length_max = 4;
  narrow.counting.length_min = 3;
  narrow.counting.length_max = 4;
  std::set<std::string> keys[2];
  for (uint64_t i = 0; i < 100000; ++i) {
    const Split split = i % 2 == 0 ? Split::kTrain : Split::kHeldout;
    keys[i % 2].insert(problem_at(narrow, split, i % 7, i).key);
  }
  EXPECT_GT(keys[0].size(), 10000u);
  EXPECT_GT(keys[1].size(), 1000u);
  std::vector<std::string> both;
  std::set_intersection(keys[0].begin(), keys[0].end(), keys[1].begin(), keys[1].end(),
                        std::back_inserter(both));
  EXPECT_TRUE(both.empty()) << both.front();
}

TEST(Tasks, TheSplitKeepsAboutOneKeyInTen) {
  int64_t heldout = 0;
  for (int i = 0; i < 20000; ++i)
    heldout += split_of_key("addition:1," + std::to_string(i)) == Split::kHeldout;
  EXPECT_NEAR(static_cast<double>(heldout), 2000, 6 * std::sqrt(20000 * 0.1 * 0.9));
}

TEST(Tasks, SameSeedSameProblem) {
  const TaskMixture mixture;
  for (uint64_t i = 0; i < 200; ++i) {
    EXPECT_TRUE(problem_at(mixture, Split::kTrain, 3, i) ==
                problem_at(mixture, Split::kTrain, 3, i));
  }
  EXPECT_NE(problem_at(mixture, Split::kTrain, 3, 1).prompt,
            problem_at(mixture, Split::kTrain, 4, 1).prompt);
}

TEST(Tasks, WorkedAnswersVerifyAndOtherProblemsAnswersDoNot) {
  const TaskMixture mixture;
  std::string other;
  for (uint64_t i = 0; i < 20000; ++i) {
    const Problem problem = problem_at(mixture, Split::kTrain, 5, i);
    ASSERT_TRUE(verify(problem, problem.answer)) << problem.prompt << " -> " << problem.answer;
    ASSERT_TRUE(verify(problem, "\n " + problem.answer + "\n"));
    ASSERT_FALSE(verify(problem, ""));
    ASSERT_FALSE(verify(problem, problem.answer + "1")) << problem.prompt;
    ASSERT_FALSE(verify(problem, problem.answer + " " + problem.answer)) << problem.prompt;
    ASSERT_FALSE(verify(problem, problem.thinking + "\n" + problem.answer) &&
                 problem.thinking.find('\n') != std::string::npos)
        << problem.prompt;
    if (problem.task != Task::kCountdown && other != problem.answer) {
      ASSERT_FALSE(verify(problem, other));
    }
    other = problem.answer;
  }
}

// The prompt's own numbers, worked out here by other means, give the answer: wording and operands
// agree.
TEST(Tasks, AnswersFollowFromThePromptInEveryLanguage) {
  const TaskMixture mixture;
  for (const char* language : kTaskLanguages) {
    for (uint64_t i = 0; i < 600; ++i) {
      Rng rng(11, stream_id(language, i));
      const Problem sum = make_problem(mixture, Task::kAddition, language, Split::kTrain, rng);
      const auto s = numbers_in(sum.prompt);
      ASSERT_EQ(s.size(), 2u) << sum.prompt;
      EXPECT_EQ(std::to_string(s[0] + s[1]), sum.answer) << sum.prompt;
      const Problem difference =
          make_problem(mixture, Task::kSubtraction, language, Split::kTrain, rng);
      const auto d = numbers_in(difference.prompt);
      EXPECT_EQ(std::to_string(std::abs(d[0] - d[1])), difference.answer) << difference.prompt;
      const Problem countdown =
          make_problem(mixture, Task::kCountdown, language, Split::kTrain, rng);
      EXPECT_EQ(numbers_in(countdown.prompt).size(), 4u) << countdown.prompt;
      const Problem sorting = make_problem(mixture, Task::kSorting, language, Split::kTrain, rng);
      auto sorted = numbers_in(sorting.prompt);
      std::sort(sorted.begin(), sorted.end());
      if (numbers_in(sorting.answer) != sorted) std::reverse(sorted.begin(), sorted.end());
      EXPECT_EQ(numbers_in(sorting.answer), sorted) << sorting.prompt;
    }
  }
}

TEST(Tasks, ReasoningIsShort) {
  const TaskMixture mixture;
  std::map<Task, size_t> longest;
  for (uint64_t i = 0; i < 20000; ++i) {
    const Problem problem = problem_at(mixture, Split::kTrain, 2, i);
    longest[problem.task] = std::max(longest[problem.task], problem.thinking.size());
    EXPECT_FALSE(problem.thinking.empty());
    EXPECT_NE(problem.thinking.back(), '\n');
  }
  for (const auto& [task, size] : longest)
    EXPECT_LE(size, 80u) << task_name(task);  // Characters; nearly all digits and signs.
}

TEST(Tasks, CountdownTakesAnyRightExpressionAndNoWrongOne) {
  const Problem problem{.task = Task::kCountdown,
                        .language = "en",
                        .prompt = "",
                        .thinking = "",
                        .answer = "(3*7)+5",
                        .key = "countdown:3,5,7=26"};
  for (const char* right : {"(3*7)+5", "3*7+5", "5+7*3", "((5))+((7*3))", " 5 + 3 * 7 ", "7*3+5"})
    EXPECT_TRUE(verify(problem, right)) << right;
  const std::vector<std::string> wrong = {"26",
                                          "3*7+5+0",
                                          "3*7+5=26",
                                          "3*7",
                                          "3+5+7",
                                          "3*7+6",
                                          "+3*7+5",
                                          "-3*7+5",
                                          "3*7+5)",
                                          "(3*7+5",
                                          "()",
                                          "3**7+5",
                                          "3*7++5",
                                          "3*7-(-5)",
                                          "3*07+5",
                                          "03*7+5",
                                          "3x7+5",
                                          "3×7+5",
                                          "３*7+5",
                                          "3*7+5.",
                                          "three*7+5",
                                          "3*7+5 or 26",
                                          "3*7\n+5",
                                          "3*7+5;",
                                          "0x3*7+5",
                                          "3 7+5",
                                          "37+5",
                                          "3*7+5*1",
                                          "21+5",
                                          "3*7+5-5+5",
                                          std::string("3*7+5\0", 6),
                                          std::string(100000, '('),
                                          std::string(100000, '9'),
                                          "9223372036854775807*9223372036854775807*9",
                                          "999999999*999999999*999999999",
                                          "\xff\xfe",
                                          "3*7+\xe2\x80\x8b"
                                          "5"};
  for (const std::string& answer : wrong)
    EXPECT_FALSE(verify(problem, answer)) << answer.substr(0, 60);
  const Problem twice{.task = Task::kCountdown,
                      .language = "en",
                      .prompt = "",
                      .thinking = "",
                      .answer = "",
                      .key = "countdown:4,4,7=9"};
  EXPECT_FALSE(verify(twice, "4+7-2"));
  EXPECT_FALSE(verify(twice, "4+4"));
}

TEST(Tasks, ListsTakeTheStatedSeparatorsOnly) {
  const Problem problem{.task = Task::kSorting,
                        .language = "en",
                        .prompt = "",
                        .thinking = "",
                        .answer = "3 12 45",
                        .key = "sorting:3,12,45"};
  for (const char* right : {"3 12 45", "3, 12, 45", "3,12,45", "  3 12 45\n"})
    EXPECT_TRUE(verify(problem, right)) << right;
  for (const char* wrong : {"3  12 45", "3 ,12,45", "3,,12,45", ",3,12,45", "3,12,45,", "3;12;45",
                            "03 12 45", "45 12 3", "3 12", "3 12 45 45", "[3, 12, 45]", "31245"}) {
    EXPECT_FALSE(verify(problem, wrong)) << wrong;
  }
}

TEST(Tasks, NumbersMustBeExact) {
  const Problem problem{.task = Task::kAddition,
                        .language = "en",
                        .prompt = "",
                        .thinking = "",
                        .answer = "632",
                        .key = "addition:247,385"};
  EXPECT_TRUE(verify(problem, "632\n"));
  for (const char* wrong : {"0632", "+632", "632.", "632.0", "6 32", "6,32", "632 apples",
                            "The answer is 632", "６３２", "632</think>632"}) {
    EXPECT_FALSE(verify(problem, wrong)) << wrong;
  }
}

TEST(Tasks, WorkedByHandAsDocumented) {
  const TaskMixture mixture;
  const auto find = [&](const std::string& key, Task task) {
    TaskMixture narrow = mixture;
    for (uint64_t i = 0; i < 400000; ++i) {
      Rng rng(1, i);
      tasks::Draft draft = task == Task::kAddition
                               ? tasks::draft_addition(narrow.addition, rng)
                               : tasks::draft_subtraction(narrow.subtraction, rng);
      if (draft.key == key && (task == Task::kSubtraction || draft.a < draft.b))
        return draft.thinking;
    }
    return std::string("not drawn");
  };
  EXPECT_EQ(find("addition:58,67", Task::kAddition), "8+7+0=15>5\n5+6+1=12>25\n0+0+1=01>125");
  EXPECT_EQ(find("subtraction:38,52", Task::kSubtraction), "2-8-0=14>4\n5-3-1=01>14");
}

TEST(Tasks, EveryQuestionHasThreeDistinctPhrasingsInEveryLanguage) {
  std::set<std::string> all;
  for (const char* language : kTaskLanguages) {
    for (int q = 0; q < tasks::kQuestionCount; ++q) {
      const auto templates = tasks::phrasings(static_cast<tasks::Question>(q), language);
      EXPECT_GE(templates.size(), 3u) << language << " " << q;
      for (const std::string& text : templates)
        EXPECT_TRUE(all.insert(text).second) << "repeated: " << text;
    }
  }
}

TEST(Tasks, KoreanParticlesFollowTheLastDigit) {
  EXPECT_EQ(tasks::korean_particle("을", '0') + tasks::korean_particle("을", '2'), "을를");
  EXPECT_EQ(tasks::korean_particle("으로", '3') + tasks::korean_particle("으로", '7') +
                tasks::korean_particle("으로", '9'),
            "으로로로");
  EXPECT_EQ(tasks::korean_particle("은", '6') + tasks::korean_particle("과", '5') +
                tasks::korean_particle("이", '4'),
            "은와가");
}

TEST(Tasks, GridsAreBalancedAndWithoutRepeats) {
  const TaskMixture mixture;
  const auto grid = make_problem_grid(mixture, Split::kHeldout, 7, 5);
  EXPECT_EQ(grid.size(), 7u * 6u * 5u);
  for (const Problem& problem : grid) EXPECT_EQ(split_of_key(problem.key), Split::kHeldout);
}

TEST(Tasks, QuestionsOfADialogueAreOfOneSplitAndDistinct) {
  TaskMixture mixture;
  mixture.turns_max = 3;
  std::set<int64_t> turns_seen;
  for (uint64_t i = 0; i < 300; ++i) {
    for (const Split split : {Split::kTrain, Split::kHeldout}) {
      Rng rng(4, i);
      const Problem last = make_problem(mixture, split, rng);
      const int64_t turns = draw_turns(mixture, rng);
      const Dialogue dialogue = make_dialogue(mixture, last, turns, split, rng);
      turns_seen.insert(turns);
      EXPECT_EQ(std::ssize(dialogue.earlier), turns - 1);
      EXPECT_EQ(dialogue.problem.prompt, last.prompt);
      std::set<std::string> keys = {last.key};
      for (const Problem& earlier : dialogue.earlier) {
        EXPECT_EQ(split_of_key(earlier.key), split);
        EXPECT_TRUE(keys.insert(earlier.key).second);
      }
      const std::vector<Message> messages = question_messages(dialogue);
      ASSERT_EQ(std::ssize(messages), 2 * turns - 1);
      EXPECT_EQ(messages.back().content, last.prompt);
      for (size_t turn = 0; turn < dialogue.earlier.size(); ++turn) {
        EXPECT_EQ(messages[2 * turn + 1].role, Role::kAssistant);
        EXPECT_EQ(messages[2 * turn + 1].content, dialogue.earlier[turn].answer);
        EXPECT_EQ(messages[2 * turn + 1].reasoning, "");
      }
    }
  }
  EXPECT_EQ(turns_seen, (std::set<int64_t>{1, 2, 3}));
}

// What one question consumes does not depend on there being a field for more.
TEST(Tasks, ADialogueOfOneQuestionDrawsNothing) {
  Rng one(4, 1), two(4, 1);
  const Problem problem = make_problem({}, Split::kTrain, one);
  make_problem({}, Split::kTrain, two);
  EXPECT_EQ(make_dialogue({}, problem, draw_turns({}, one), Split::kTrain, one).earlier.size(), 0u);
  EXPECT_EQ(one.uniform(), two.uniform());
}

TEST(Tasks, ADialogueThatWouldRepeatAQuestionIsRefused) {
  TaskMixture narrow;
  narrow.comparison = {.digits_min = 1, .digits_max = 1};
  narrow.addition.weight = narrow.subtraction.weight = narrow.sorting.weight =
      narrow.reversing.weight = narrow.counting.weight = narrow.countdown.weight = 0;
  Rng rng(1, 1);
  const Problem problem = make_problem(narrow, Split::kHeldout, rng);
  EXPECT_NE(message_of([&] {
              make_dialogue(narrow, problem, 60, Split::kHeldout, rng);
            }).find("60 different heldout problems"),
            std::string::npos);
}

TEST(Tasks, BadMixturesAreRefusedByName) {
  const auto problem_of = [](const char* yaml) {
    return message_of([&] {
      TaskMixture mixture;
      from_json(mixture, parse_yaml(yaml, "test"), "x.yaml: tasks");
      check_mixture(mixture, "x.yaml: tasks");
    });
  };
  EXPECT_NE(problem_of("adition: {weight: 1}").find("did you mean 'addition'"), std::string::npos);
  EXPECT_NE(problem_of("addition: {digits_min: 4}").find("digits_min is 4, above digits_max, 3"),
            std::string::npos);
  EXPECT_NE(problem_of("languages: [en, fr]").find("'fr'"), std::string::npos);
  EXPECT_NE(problem_of("languages: []").find("languages is empty"), std::string::npos);
  EXPECT_NE(problem_of("sorting: {length_max: 1}").find("from 2 to 64"), std::string::npos);
  EXPECT_NE(problem_of("{addition: {weight: 0}, subtraction: {weight: 0}, comparison: {weight: 0}, "
                       "sorting: {weight: 0}, "
                       "reversing: {weight: 0}, counting: {weight: 0}, countdown: {weight: 0}}")
                .find("every task has weight 0"),
            std::string::npos);
  TaskMixture tiny;
  tiny.addition = {.weight = 1, .digits_min = 1, .digits_max = 1};
  Rng rng(1);
  EXPECT_NO_THROW(make_problem(tiny, Task::kAddition, "en", Split::kHeldout, rng));
}

}  // namespace
}  // namespace dure
