// cli/eval_suite.h: `dure eval MODEL|URL SUITE` from its flags to its report.
//
// Owns the flags of measuring with a suite of tasks, and the order: suite, files, models, answers,
// report. Not here: the older suites of bits per byte and problems (verb_eval.cc).
#pragma once

#include <string>
#include <vector>

#include "cli/args.h"
#include "cli/arithmetic_flag.h"
#include "cli/kv_type_flag.h"
#include "cli/measured_model.h"
#include "comm/group.h"

namespace dure {

struct EvalSuiteFlags {
  std::vector<std::string> data, only;
  std::optional<int64_t> samples, limit, tokens, seed, top_k, concurrency, context;
  std::optional<double> temperature, top_p, timeout;
  std::string grader, environment, judge, judge_model, user, user_model, model, report;
  bool row_programs = false, list_graders = false;
  bool present = false, list_suites = false, list_tasks = false, compare = false, kl = false;

  void declare(Args& args);
};

struct EvalSuiteCall {
  std::vector<MeasuredModel> subjects;
  std::string suite, out, title;      // title: empty: the suite's own
  std::vector<std::string> settings;  // FIELD=VALUE of AskSettings
  const ArithmeticFlag& arithmetic;
  const KvTypeFlag& kv_type;
  bool no_thinking = false;
  Group& ranks;  // that share the questions; the first one has the folder and writes
};

// 1 where a task has no score at the end (answers are missing, or none could be graded), else 0.
int eval_suite(const EvalSuiteFlags& flags, const EvalSuiteCall& call);

// `--suites`, `--tasks`: what there is, and which files are there.
int list_suites(const EvalSuiteFlags& flags);
int list_tasks(const EvalSuiteFlags& flags);
// `--graders`: what an own set may name.
int list_graders();

// `--report`: the report of a folder's answers, made anew.
int remake_report(const std::string& folder);

}  // namespace dure
