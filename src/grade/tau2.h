// grade/tau2.h: tau2's tasks as episodes: a policy, tools on a small world, a user, and a reward.
//
// Owns the conversation between the three and what it is worth. Not here: the world and its tools
// (tau2_world.h), the user (tau2_user.h), files (suite/).
//
// An item's reference is the task as tasks.json has it. The reward is the product of what the
// task's reward_basis names (default DB and COMMUNICATE), each 0 or 1: DB: the world is as the
// task's own actions leave it; ENV_ASSERTION: its assertions hold; ACTION: each of its actions was
// called, compared by compare_args; COMMUNICATE: each text was said, without case and commas.
// NL_ASSERTION needs a judge: such a grade is "cannot tell". An episode that its user did not end
// is worth 0. Parts: each of them by its name in lower case. Source: sierra-research/tau2-bench,
// src/tau2/evaluator and data_model/tasks.py (commits 3e33a64a, 1ef2aea4), but that ACTION gives
// nothing for a part of the actions. The words around the policy are ours.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grade/episode.h"
#include "grade/tau2_user.h"

namespace dure {

// Items out of tasks.json of any domain. Throws kInvalidArgument naming `source` and the task.
std::vector<Item> tau2_items(const Json& tasks, const std::string& source);

struct Tau2Domain {
  std::string name = "mock";
  std::string policy;            // policy.md
  Json database, user_database;  // db.json, user_db.json
};

// Throws kUnsupported for a domain whose tools are not there: all but mock.
std::unique_ptr<Environment> tau2_environment(Tau2Domain domain, UserMaker user);

}  // namespace dure
