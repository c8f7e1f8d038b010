// eval/suite_results.h: the answers of a folder as results: scores of tasks, means of suites,
// ratios to rivals.
//
// Owns what is computed from answers.sqlite, and its JSON (results.json, docs/evaluation.md). The
// same answers give the same results, without any model. Not here: reports (suite_report.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/task_score.h"
#include "suite/rivals.h"
#include "suite/suite.h"

namespace dure {

struct TaskResult {
  MeasureRow measure;
  TaskScore score;
};

// Over the tasks that both have a score of.
struct RivalResult {
  std::string table, model;
  std::vector<std::string> tasks;  // both have
  int64_t tasks_of_suite = 0;
  double theirs = 0;  // in [0, 1]
  Interval ours, ratio;
};

struct SubjectResult {
  SubjectRow subject;
  std::vector<TaskResult> tasks;
  std::optional<MetricScore> mean;   // absent: `missing` says why
  std::vector<std::string> missing;  // tasks of the suite that lack answers, or all grades
  std::vector<RivalResult> rivals;
  const TaskResult* find(const std::string& task) const;
};

struct SuiteResults {
  Json suite;  // name, title, about, tasks, rivals, seed
  std::vector<SubjectResult> subjects;
  std::vector<RivalTable> rivals;
};

SuiteResults suite_results(const AnswerStore& store, const ScoreOptions& options = {});
Json results_json(const SuiteResults& results);

// What AnswerStore::set_suite() keeps of a suite.
Json suite_facts(const Suite& suite);

}  // namespace dure
