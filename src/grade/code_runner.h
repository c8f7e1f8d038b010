// grade/code_runner.h: Python programs put to their tests in the sandbox.
//
// Owns starting them and reading what they report. Neither the expected outputs of tests that
// compare what is printed or returned, nor asserts, nor anything that makes a verdict are where an
// answer's code can read or write them: outputs stay outside, asserts run in a process of their own
// (code_programs.h; docs/sandbox.md). Not here: the sandbox (sandbox/sandboxed_program.h),
// comparing (code_text.h).
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

// `program` in one process; `before`, then each of `tests`, whatever became of those before, in
// another, where the names that tests use and the program has stand for the program's. Values go to
// and fro as plain data; of other objects only calls, attributes, items and lengths. One run for
// each test: passed where it ended without an exception.
std::vector<CodeRun> run_asserts(const std::string& program, const std::string& before,
                                 const std::vector<std::string>& tests, const CodeLimits& limits);

// As a script that reads `input`. `passed`: it ended well.
CodeRun run_script(const std::string& program, const std::string& input, const CodeLimits& limits);

// `name`, a function or a method of class Solution, called with each input's arguments, one JSON
// value a line. `seconds` is for each call.
std::vector<CodeRun> run_function(const std::string& program, const std::string& name,
                                  const std::vector<std::string>& inputs, const CodeLimits& limits,
                                  AfterFailure after);

}  // namespace dure
