// data/tasks/draft.h: inside data/tasks: a problem before it is put into words, and the generators
// that draw one.
#pragma once

#include <string>

#include "base/rng.h"
#include "data/tasks/mixture.h"

namespace dure::tasks {

// What is asked for, finer than Task: each has its own phrasings (phrasing.h).
enum class Question {
  kAdd,
  kSubtract,
  kLarger,
  kSmaller,
  kAscending,
  kDescending,
  kReverseDigits,
  kReverseLetters,
  kCountDigit,
  kCountLetter,
  kCountdown,
};
inline constexpr int kQuestionCount = 11;

struct Draft {
  Question question = Question::kAdd;
  std::string key, thinking, answer;
  // What phrasings insert: the two numbers, or a list and an item or target.
  std::string a, b, list, item;
};

Draft draft_addition(const DigitTaskOptions& options, Rng& rng);
Draft draft_subtraction(const DigitTaskOptions& options, Rng& rng);
Draft draft_comparison(const DigitTaskOptions& options, Rng& rng);
Draft draft_sorting(const ListTaskOptions& options, Rng& rng);
Draft draft_reversing(const ListTaskOptions& options, Rng& rng);
Draft draft_counting(const ListTaskOptions& options, Rng& rng);
Draft draft_countdown(const CountdownOptions& options, Rng& rng);

}  // namespace dure::tasks
