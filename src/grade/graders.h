// grade/graders.h: graders by the names that tasks give them.
//
// Owns the table. A task says `grader: choice`, or `grader: {name: choice, letters: 10}`: the other
// fields are the grader's own options, each with a `visit` (base/options.h), refused by name where
// unknown. Not here: tasks (suite/), the graders themselves (a file each).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/json.h"
#include "grade/grader.h"

namespace dure {

// What a grader may need of the world outside; given by those who make it.
struct GraderWorld {
  // The judge's answer to a conversation. Empty: there is no judge, and judged tasks are refused.
  std::function<std::string(const std::vector<Message>&)> ask_judge;
  // A turn of the model that plays a user, with tools of its own (a list of declarations). Empty:
  // there is none, and tasks with a simulated user are refused.
  std::function<Answer(const std::vector<Message>&, const Json& tools)> ask_user;
  std::string user_name;  // that model's
  // Where verifiers leave what they say on standard error (verifier.log). Empty: nowhere.
  std::string folder;
  // Whether a row of items may name `command` or `http` as its own grader: programs outside any
  // sandbox, named by data.
  bool row_programs = false;
};

// `options`: the grader's fields without "name"; null where there are none. `where`: names the task
// in errors ("task gsm8k: grader").
using GraderMaker = std::function<std::unique_ptr<Grader>(
    const Json& options, const GraderWorld& world, const std::string& where)>;
using GraderTable = std::map<std::string, GraderMaker>;

GraderTable standard_graders();

// `spec`: a name, or an object with "name". Throws kInvalidArgument naming `where`: no such grader
// (the message lists those there are), an unknown or wrong option.
std::unique_ptr<Grader> make_grader(const GraderTable& table, const Json& spec,
                                    const GraderWorld& world, const std::string& where);

}  // namespace dure
