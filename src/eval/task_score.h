// eval/task_score.h: from the grades of answers to the score of a task, with its interval.
//
// Owns the metrics, the means over items and groups, and the bootstrap. A metric is one of
//   mean          of all answers' scores (avg@n; with one answer an item, accuracy)
//   pass@K        chance that at least one of K answers is right, unbiased: 1 - C(n-c, K) / C(n,
//   K).
//                 Source: Chen et al., "Evaluating large language models trained on code", 2021.
//   all@K         chance that all of K answers are right: C(c, K) / C(n, K). Source: Yao et al.,
//                 "tau-bench", 2024 (there pass^K).
//   majority      the score of what most answers say (of `extracted`; the earliest of equals)
//   macro_f1      mean F1 of the labels in `extracted` against the reference. No interval by group.
//   NAME          mean of a part of the grades; NAME/OTHER: the sum of one over the sum of another;
//                 NAME*OTHER: its mean weighted by another
// An answer that could not be graded scores 0, and is counted by itself. Not here: grades
// (grade/), what is shown (suite_results.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "eval/answer_store.h"
#include "eval/statistics.h"

namespace dure {

// What was counted, in [0, 1]; intervals are the bootstrap's at 95 %: over items, within each group
// where groups count the same. Where no draw differs (all right, all wrong), Wilson's.
struct MetricScore {
  std::string name;
  Interval interval;
  std::vector<double> resamples;  // of the bootstrap
};
struct GroupScore {
  std::string name;
  int64_t items = 0;
  Interval interval;  // of the headline metric
};

struct LengthFacts {
  double mean = 0;
  int64_t median = 0, p90 = 0, most = 0;
};

struct TaskScore {
  std::string task;
  int64_t items = 0, answers = 0, missing = 0;  // missing: of items x samples
  int64_t samples = 1;
  int64_t unknown = 0;   // the grader could not tell, or failed
  int64_t ungraded = 0;  // of those: it failed, or was never come to; asked again by the next run
  std::map<std::string, int64_t> failures;  // `ungraded` by what failed (Grade::failure)
  int64_t cut = 0, too_long = 0, empty = 0;
  double right_unknown = 0;  // the mean, were all of `unknown` right
  LengthFacts tokens, prompt_tokens;
  double reasoned_share = 0;  // answers with reasoning
  double answer_seconds = 0, grade_seconds = 0;
  // Absent (empty) where answers are missing (what is there is no sample of the whole), and where
  // none could be graded.
  std::vector<MetricScore> metrics;  // the headline first
  std::vector<GroupScore> groups;
  bool whole() const { return missing == 0 && ungraded < answers; }
};

struct ScoreOptions {
  int64_t resamples = 1000;
  uint64_t seed = 1;
};

// Throws kInvalidArgument naming the task where a metric is none, asks for more answers than there
// are, or a grade has no such part.
TaskScore score_task(const MeasureRow& measure, const std::vector<AnswerRow>& answers,
                     const ScoreOptions& options = {});

// Throws kInvalidArgument naming `where`, before anything is asked.
void check_metrics(const TaskSpec& task, int64_t samples, const std::string& where);

// The mean of tasks of equal weight with the interval of their resamples together.
MetricScore mean_of_tasks(const std::vector<const TaskScore*>& tasks);

// The 95 % interval of resamples around `value`.
Interval resampled_interval(double value, std::vector<double> resamples);

// 1 - C(n-c, k) / C(n, k). Checked: 0 <= c <= n, 1 <= k <= n.
double pass_at(int64_t n, int64_t c, int64_t k);
double all_at(int64_t n, int64_t c, int64_t k);  // C(c, k) / C(n, k)

}  // namespace dure
