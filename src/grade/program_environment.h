// grade/program_environment.h: an environment of one's own: a program, or a server, that a model
// talks with over several turns.
//
// Owns its options and its episodes: workers that hold many episodes each, started again when they
// end, timed out by turn; episodes of a worker that was started again are told to the new one from
// their beginning. Nothing that an environment does stops who asks it: an episode that it fails is
// over, earns `failure_reward`, or no score (on_failure: drop), and says so in Grade::failure. Not
// here: what is said (environment_protocol.h), one process and its restarts (workers.h),
// sampling (rl/, eval/). Page: docs/environments.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "grade/episode.h"
#include "grade/graders.h"
#include "grade/verifier.h"

namespace dure {

struct EnvironmentOptions {
  std::vector<std::string> command;  // the program and its arguments; found as a shell finds it
  std::string url;                   // instead: every request is posted there
  int64_t workers = 4;
  double timeout_s = 20;  // of one reply
  double start_s = 10;    // more, for the first reply of a process
  int64_t max_turns = 8;
  int64_t max_tokens = 2048;
  double max_seconds = 0;
  VerifierFailureAction on_failure = VerifierFailureAction::kReward;
  double failure_reward = 0;

  bool given() const { return !command.empty() || !url.empty(); }
  void take_defaults(const Json& fields, const std::string& where) {
    check_command_form(fields, where);
  }
  bool operator==(const EnvironmentOptions&) const = default;
  template <typename V>
  void visit(V& v) {
    v("command", command, "the program that is the environment, and its arguments");
    v("url", url, "instead: an address that requests are posted to (http://, https://)");
    v("workers", workers, "processes, or requests, at the same time", between(1, 256));
    v("timeout_s", timeout_s, "longest time for one reply", between(0.01, 86400));
    v("start_s", start_s, "more time for the first reply of a process", between(0, 3600));
    v("max_turns", max_turns, "answers of the model in an episode", between(1, 100000));
    v("max_tokens", max_tokens,
      "tokens of a whole episode: what it begins with, answers, and what the environment says",
      between(2, int64_t{1} << 31));
    v("max_seconds", max_seconds, "of the environment's own work in an episode (0: no limit)",
      at_least(0));
    v("on_failure", on_failure,
      "an episode that the environment failed: earns failure_reward, or is left out");
    v("failure_reward", failure_reward, "reward of such an episode", between(-1e6, 1e6));
  }
};

// check() of its first item starts the workers. Throws as make_verifier(). `log`: the file that
// what a program says on standard error goes to; empty: nowhere.
std::unique_ptr<Environment> make_environment(const EnvironmentOptions& options,
                                              const std::string& log, const std::string& where);

// `spec`: an object of the options above, with or without "name": "command" or "http" (the log lies
// in GraderWorld::folder). Throws kInvalidArgument naming `where` and the field.
std::unique_ptr<Environment> make_environment(const Json& spec, const GraderWorld& world,
                                              const std::string& where);

}  // namespace dure
