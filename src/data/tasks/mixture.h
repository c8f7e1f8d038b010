// data/tasks/mixture.h: which tasks, how hard, in which languages; and problems drawn from them
// without end.
//
// A mixture is configuration (a `tasks:` block in YAML). The same mixture and Rng give the same
// problems on every machine. Not here: what a problem is and how it is verified (problem.h).
// Formats of the reasoning: docs/tasks.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "base/rng.h"
#include "data/tasks/problem.h"

namespace dure {

// Addition, subtraction, comparison: how long the two numbers are.
struct DigitTaskOptions {
  double weight = 1;
  int64_t digits_min = 2;
  int64_t digits_max = 3;
  template <typename V>
  void visit(V& v) {
    v("weight", weight,
      "share of this task in the mixture, relative to the others; 0 leaves it out", at_least(0));
    v("digits_min", digits_min, "digits of the shortest number", between(1, 9));
    v("digits_max", digits_max, "digits of the longest number", between(1, 9));
  }
};

// Sorting, reversing, counting: how many items, and for sorting how large.
struct ListTaskOptions {
  double weight = 1;
  int64_t length_min = 3;
  int64_t length_max = 5;
  int64_t value_max = 99;
  double letters_share = 0.5;
  template <typename V>
  void visit(V& v) {
    v("weight", weight,
      "share of this task in the mixture, relative to the others; 0 leaves it out", at_least(0));
    v("length_min", length_min, "items in the shortest list", between(2, 64));
    v("length_max", length_max, "items in the longest list", between(2, 64));
    v("value_max", value_max, "sorting: the largest number (smallest: 0)", between(1, 999999));
    v("letters_share", letters_share, "reversing, counting: share of letters, the rest are digits",
      between(0, 1));
  }
};

struct CountdownOptions {
  double weight = 1;
  int64_t value_max = 9;
  int64_t target_max = 99;
  int64_t attempts_max = 2;
  template <typename V>
  void visit(V& v) {
    v("weight", weight,
      "share of this task in the mixture, relative to the others; 0 leaves it out", at_least(0));
    v("value_max", value_max, "largest of the three numbers (smallest: 1)", between(2, 999));
    v("target_max", target_max, "largest target", between(2, 999999));
    v("attempts_max", attempts_max, "failed attempts shown at most before the one that works",
      between(0, 8));
  }
};

inline constexpr int64_t kTurnsMax = 64;  // questions of one conversation

struct TaskMixture {
  std::vector<std::string> languages = {kTaskLanguages.begin(), kTaskLanguages.end()};
  double hunch_share = 0;
  int64_t turns_max = 1;
  double without_reasoning_share = 0;
  DigitTaskOptions addition;
  DigitTaskOptions subtraction;
  DigitTaskOptions comparison{.digits_min = 2, .digits_max = 4};
  ListTaskOptions sorting;
  ListTaskOptions reversing{.length_min = 4, .length_max = 7};
  ListTaskOptions counting{.length_min = 4, .length_max = 8};
  CountdownOptions countdown;
  template <typename V>
  void visit(V& v) {
    v("languages", languages, "languages of the questions, drawn evenly");
    v("hunch_share", hunch_share,
      "fine-tuning: share of demonstrations whose reasoning states the result without working it "
      "out",
      between(0, 1));
    v("turns_max", turns_max,
      "fine-tuning, reinforcement learning: questions of a conversation, drawn evenly from 1 to "
      "this; the last is the one to be answered",
      between(1, kTurnsMax));
    v("without_reasoning_share", without_reasoning_share,
      "fine-tuning: share of conversations answered without reasoning", between(0, 1));
    v("addition", addition, "a+b");
    v("subtraction", subtraction, "a-b, never below zero");
    v("comparison", comparison, "the larger or smaller of two numbers");
    v("sorting", sorting, "numbers in ascending or descending order");
    v("reversing", reversing, "digits or letters in reverse order");
    v("counting", counting, "how often a digit or letter occurs");
    v("countdown", countdown, "reach a target from three numbers with + - *");
  }
  double weight(Task task) const;
};

// Throws kInvalidArgument, naming the field: an unknown language, min above max, all weights zero.
void check_mixture(const TaskMixture& mixture, const std::string& where);

// A problem of the mixture whose key falls in `split`. Consumes a varying number of values of
// `rng`; give each problem its own (seed, stream) to address problems by index. Throws
// kInvalidArgument where the options are so narrow that no problem of the split turns up in 10,000
// tries.
Problem make_problem(const TaskMixture& mixture, Split split, Rng& rng);
Problem make_problem(const TaskMixture& mixture, Task task, const std::string& language,
                     Split split, Rng& rng);

// Questions put in turn, each of its own language and task, all of one split and with distinct
// keys. What is measured and rewarded is the last; the earlier ones have been answered rightly.
struct Dialogue {
  std::vector<Problem> earlier;
  Problem problem;
};

// `problem` as the last of `turns` questions; consumes nothing of `rng` where that is 1. Throws as
// make_problem(), and where the options are so narrow that a question would have to be repeated.
Dialogue make_dialogue(const TaskMixture& mixture, Problem problem, int64_t turns, Split split,
                       Rng& rng);
// 1 .. turns_max, evenly; consumes nothing of `rng` where that is 1.
int64_t draw_turns(const TaskMixture& mixture, Rng& rng);

// `count_per_cell` problems with distinct keys for every task of non-zero weight and every
// language, task-major: the held-out set of an evaluation. Narrow options give fewer (never a
// repeated key within one cell).
std::vector<Problem> make_problem_grid(const TaskMixture& mixture, Split split, uint64_t seed,
                                       int64_t count_per_cell);

}  // namespace dure
