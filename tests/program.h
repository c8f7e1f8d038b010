// tests/program.h: the program as a user runs it: arguments and input in, exit code and both
// outputs back; and what every verb owes for bad input.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "base/file.h"

namespace dure {

struct Outcome {
  int code = 0;
  std::string out, error;
};

struct ProgramOptions {
  std::string input;        // standard input
  std::string environment;  // such as "DURE_THREADS=2"
};

// `arguments` as a shell reads them, without progress and without log lines below errors.
inline Outcome run_program(const std::string& arguments, const ProgramOptions& options = {}) {
  const TemporaryFolder folder;
  const std::string input = (folder.path() / "in").string(),
                    error = (folder.path() / "err").string();
  write_file(input, options.input);
  const std::string command = "DURE_PROGRESS=off DURE_LOG=error " + options.environment +
                              " '" DURE_BINARY "' " + arguments + " < '" + input + "' 2> '" +
                              error + "'";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  Outcome outcome;
  char buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    outcome.out.append(buffer, n);
  outcome.code = WEXITSTATUS(::pclose(pipe));
  outcome.error = read_file(error);
  return outcome;
}

// Bad input: exit code 2, one line that holds `part`, nothing on standard output.
inline void expect_refusal(const Outcome& outcome, const std::string& part) {
  EXPECT_EQ(outcome.code, 2) << outcome.error;
  EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
  EXPECT_NE(outcome.error.find(part), std::string::npos) << outcome.error;
  EXPECT_EQ(outcome.out, "");
}

}  // namespace dure
