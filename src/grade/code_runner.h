// grade/code_runner.h: Python programs put to their tests in the sandbox.
//
// Owns the small programs that go in beside an answer's code, and reading what they report.
// Expected outputs of tests that compare what is printed or returned never go in: a program cannot
// know them. Asserts do, by their nature, and run in the answer's own process: one that looks for
// the report's key in its own memory can forge it (docs/sandbox.md). Not here: the sandbox
// (sandbox/sandboxed_program.h), comparing (code_text.h).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace dure {

struct CodeLimits {
  double seconds = 3;  // of processor time; twice that and one more by the clock
  int64_t memory_bytes_max = 1 << 30;
  std::string python = "/usr/bin/python3";
};

enum class AfterFailure { kStop, kGoOn };

struct CodeRun {
  bool passed = false;
  std::string output;  // stdout: what it printed
  Json value;          // functions: what it returned, in the form that same_value() takes
  std::string error;   // why it did not get so far; empty where it did
};

// `program` in one namespace, then each of `tests` in it, whatever became of those before. One run
// for each test: passed where it ended without an exception.
std::vector<CodeRun> run_asserts(const std::string& program, const std::vector<std::string>& tests,
                                 const CodeLimits& limits);

// As a script that reads `input`. `passed`: it ended well.
CodeRun run_script(const std::string& program, const std::string& input, const CodeLimits& limits);

// `name`, a function or a method of class Solution, called with each input's arguments, one JSON
// value a line. `seconds` is for each call.
std::vector<CodeRun> run_function(const std::string& program, const std::string& name,
                                  const std::vector<std::string>& inputs, const CodeLimits& limits,
                                  AfterFailure after);

}  // namespace dure
