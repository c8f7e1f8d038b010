// eval/compare.h: two subjects on the same items: which is better, how sure that is, what flipped.
//
// Paired by item: what both find hard does not count. Tests: McNemar's exact one where every item
// has one answer that is right or wrong; the bootstrap over items of the mean difference
// everywhere. Not here: scores of one subject (task_score.h), how far distributions lie apart
// (divergence.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/answer_store.h"
#include "eval/statistics.h"

namespace dure {

struct Flip {
  std::string item;
  double first = 0, second = 0;  // mean scores of its answers
};

struct ComparedTask {
  std::string task, title;
  int64_t items = 0;             // that both answered
  int64_t left_out = 0;          // that one of them did not
  double first = 0, second = 0;  // mean scores, over groups where the task's score is
  bool by_group = false;
  std::string headline;           // the report's metric where it is another; else empty
  Interval difference;            // second - first, bootstrap at 95 %
  int64_t better = 0, worse = 0;  // items
  std::optional<double> mcnemar;  // p, two-sided; absent where scores are no verdicts
  double bootstrap_p = 1;         // two-sided
  std::vector<Flip> flips;        // the widest first
  std::string settings_differ;    // how the two were asked differently; empty: alike
};

struct Comparison {
  std::string first, second;  // names
  std::vector<ComparedTask> tasks;
  std::vector<std::string> only_one;  // tasks that one of them lacks
};

struct ComparedSubject {
  const AnswerStore& store;
  std::string subject;
};

// Throws kInvalidArgument where they share no task, or a task's items are not the same.
Comparison compare(const ComparedSubject& first, const ComparedSubject& second);

// Two-sided exact McNemar: twice the smaller tail of Binomial(better + worse, 1/2), at most 1.
// Source: Q. McNemar, Psychometrika 12 (1947), 153-157; exact form as in Agresti, "Categorical data
// analysis", 10.1.
double mcnemar_exact(int64_t better, int64_t worse);

Json comparison_json(const Comparison& comparison);
std::string comparison_text(const Comparison& comparison);  // for a terminal
std::string comparison_markdown(const Comparison& comparison);

}  // namespace dure
