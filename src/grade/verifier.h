// grade/verifier.h: a verifier of one's own: a program, or a server, that says what an answer is
// worth.
//
// Owns the graders `command` and `http`: workers that are asked one answer at a time each, started
// again when they end, timed out by answer. Nothing that a verifier does stops who asks it: what it
// fails to grade earns `failure_reward`, or no score (on_failure: drop), and says so in
// Grade::failure. A score is the verifier's reward: any finite number. Not here: what is said
// (verifier_protocol.h), workers (workers.h), one process (verifier_process.h). Page:
// docs/verifiers.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "grade/graders.h"

namespace dure {

enum class VerifierFailureAction : uint8_t { kReward, kDrop };
constexpr auto enum_names(VerifierFailureAction) {
  return std::to_array<EnumName<VerifierFailureAction>>(
      {{VerifierFailureAction::kReward, "reward"}, {VerifierFailureAction::kDrop, "drop"}});
}

// Throws kInvalidArgument where `command` is no list of texts: names the place, and says how to
// write it.
void check_command_form(const Json& fields, const std::string& where);

struct VerifierOptions {
  std::vector<std::string> command;  // the program and its arguments; found as a shell finds it
  std::string url;                   // instead: every answer is posted there
  int64_t workers = 4;
  double timeout_s = 20;  // of one answer
  double start_s = 10;    // more, for the first answer of a process
  VerifierFailureAction on_failure = VerifierFailureAction::kReward;
  double failure_reward = 0;

  bool given() const { return !command.empty() || !url.empty(); }
  void take_defaults(const Json& fields, const std::string& where) {
    check_command_form(fields, where);
  }
  template <typename V>
  void visit(V& v) {
    v("command", command, "the program that grades, and its arguments");
    v("url", url, "instead: an address that answers are posted to (http://, https://)");
    v("workers", workers, "processes, or requests, at the same time", between(1, 256));
    v("timeout_s", timeout_s, "longest time for one answer", between(0.01, 86400));
    v("start_s", start_s, "more time for the first answer of a process", between(0, 3600));
    v("on_failure", on_failure,
      "an answer that could not be graded: earns failure_reward, or is left out");
    v("failure_reward", failure_reward, "reward of an answer that could not be graded",
      between(-1e6, 1e6));
  }
};

// check() of its first item starts the workers. Throws kInvalidArgument naming `where`: neither
// command nor url, or both; in check(): kNotFound (there is no such program), kInvalidArgument (it
// ended at once). `log`: the file that what a program says on standard error goes to, at most
// kVerifierLogBytesMax (workers.h) of it; empty: nowhere.
std::unique_ptr<Grader> make_verifier(const VerifierOptions& options, const std::string& log,
                                      const std::string& where);

// Adds `command` and `http`: the options above; the log lies in GraderWorld::folder.
void add_verifier_graders(GraderTable& table);

}  // namespace dure
