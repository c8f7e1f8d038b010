// suite/suite.h: several tasks as one measure: which, how they are asked, what they are compared
// with.
//
// Owns the YAML form of a suite, the settings that hold for each of its tasks in the end, and a
// user's own file as a suite. Not here: one task (task_spec.h), what ships with the program
// (shipped.h), how answers are sampled and counted (eval/).
#pragma once

#include <string>
#include <vector>

#include "suite/task_spec.h"

namespace dure {

struct SuiteEntry {
  TaskSpec task;
  AskSettings ask;        // what holds in the end
  int64_t items_max = 0;  // evenly spaced over all; 0: all
};

struct Suite {
  std::string name, title, about;
  std::vector<SuiteEntry> entries;
  std::vector<std::string> rivals;  // names of shipped tables of scores
  int64_t seed = 1;
  const std::string& label() const { return title.empty() ? name : title; }
};

// What the command line says of every task of a suite.
struct SuiteOverrides {
  Json ask;                       // fields of AskSettings; or null
  int64_t items_max = 0;          // 0: as the suite says
  std::vector<std::string> only;  // of its tasks; empty: all
  int64_t seed = -1;              // -1: as the suite says
  std::string title;              // empty: as the suite says
  Json grader;                    // of a user's own file; or null
  Json environment;               // instead: {command: [...], ...}; or null
};

// `given`: the name of a shipped suite or task; a YAML file (docs/evaluation.md); a JSONL file of
// items. Throws kNotFound listing the suites there are, kInvalidArgument naming the file and the
// field.
Suite load_suite(const std::string& given, const SuiteOverrides& overrides);

// From the parts; `folder`: of files it names.
Suite suite_from_json(const Json& json, const std::string& origin, const Path& folder,
                      const SuiteOverrides& overrides);

// Whether `given` names a suite in one of these ways; for a command line. A YAML file of the older
// form is none.
bool names_a_suite(const std::string& given);

// Whether it is written as the name of a file that holds a suite, there or not.
bool is_suite_file(const std::string& given);
// A YAML file of the older form (evaluate.h): an object without a list of tasks and without a
// source.
bool is_older_suite(const std::string& given);

// A JSONL of {prompt | messages, answer | answers | reference, id?, group?, grader?, tools?,
// continuations?} as a task. `grader`: of rows that name none; or null. `environment`: instead, as
// make_environment() takes it; or null.
TaskSpec task_of_items_file(const Path& path, const Json& grader, const Json& environment = {});

}  // namespace dure
