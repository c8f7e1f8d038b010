// grade/code.h: code judged by running it: the grader `code`.
//
// Owns the three forms of tests and what an answer's code is. Not here: running it (code_runner.h),
// reading it (code_text.h), samples and pass@k (eval/).
//
// Modes, and an item's reference in the fields that the sets are published with:
//   completion  {"prompt", "test", "entry_point"}: HumanEval. prompt + completion + test, then
//               check(entry_point).
//   asserts     {"test_list", "test_setup_code"}: MBPP. The code, the setup, each assert.
//   stdio       {"inputs", "outputs"}, lists of texts: CodeContests, LiveCodeBench. What is printed
//               is compared line by line. With "fn_name": the function (or Solution's method) is
//               called with each input's lines, JSON all, and what it returns is compared.
// The score is 1 where every test passes, else 0; parts: "passed", "tests" and "fraction".
// Sources: openai/human-eval execution.py; google-research mbpp; LiveCodeBench testing_util.py.
#pragma once

#include <array>
#include <string>

#include "base/options.h"
#include "grade/graders.h"

namespace dure {

enum class CodeMode { kCompletion, kAsserts, kStdio };
constexpr auto enum_names(CodeMode) {
  return std::to_array<EnumName<CodeMode>>({{CodeMode::kCompletion, "completion"},
                                            {CodeMode::kAsserts, "asserts"},
                                            {CodeMode::kStdio, "stdio"}});
}

// What of an answer is its code. kAuto: its last fenced block (Python's first); an answer without
// one is code as a whole, up to [DONE], or, where a completion is asked for and its first line is
// indented, up to what no longer belongs to the function.
enum class CodePart { kAuto, kBlock, kWhole, kContinuation };
constexpr auto enum_names(CodePart) {
  return std::to_array<EnumName<CodePart>>({{CodePart::kAuto, "auto"},
                                            {CodePart::kBlock, "block"},
                                            {CodePart::kWhole, "whole"},
                                            {CodePart::kContinuation, "continuation"}});
}

struct CodeOptions {
  CodeMode mode = CodeMode::kStdio;
  CodePart part = CodePart::kAuto;
  double seconds = 0;
  int64_t memory_mb = 1024;
  bool every_test = false;
  std::string python = "/usr/bin/python3";
  template <typename V>
  void visit(V& v) {
    v("mode", mode, "the form of the tests");
    v("part", part, "what of an answer is its code");
    v("seconds", seconds,
      "processor time: of the program with its tests, with stdio of each test; twice that and 1 by "
      "the clock; 0: 3 for completion, 10 for asserts, 6 for stdio",
      at_least(0));
    v("memory_mb", memory_mb, "address space of the program", at_least(32));
    v("every_test", every_test, "stdio: go on after the first test that fails, for the fraction");
    v("python", python, "the interpreter, under /usr");
  }
};

// The code of an answer, by the rules above; empty where there is none.
std::string code_of_answer(const std::string& content, const CodeOptions& options);

void add_code_graders(GraderTable& table);

}  // namespace dure
