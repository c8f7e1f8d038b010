// grade/tau2.h: tau2's tasks as episodes: a policy, tools on a small world, a user, and a reward.
//
// Owns the conversation between the three and what it is worth. Not here: the world and its tools
// (tau2/world.h, tau2/domains.h), the user (tau2_user.h), files (suite/).
//
// An item's reference is the task as tasks.json has it. The reward is the product of what the
// task's reward_basis names (default DB and COMMUNICATE), each 0 or 1: DB: the world is as the
// task's own actions leave it; ENV_ASSERTION: its assertions hold; ACTION: each of its actions was
// called, compared by compare_args; COMMUNICATE: each text was said, without case and commas;
// NL_ASSERTION: a judge says of each that it is so (without one the grade is "cannot tell"; where
// there are none they hold). An episode that its user did not end
// is worth 0: out of turns, 10 calls that failed, 200 steps. One whose user could not speak has no
// grade (Grade::failure "user"). Parts: each of them by its name in lower case.
// Source: sierra-research/tau2-bench, src/tau2/evaluator, orchestrator/orchestrator.py and
// data_model/tasks.py (commits 3e33a64a, 07a10816, 1ef2aea4), but that ACTION gives nothing for a
// part of the actions. The words around the policy are ours.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "grade/episode.h"
#include "grade/tau2_user.h"

namespace dure {

// Items out of tasks.json of any domain. Throws kInvalidArgument naming `source` and the task.
std::vector<Item> tau2_items(const Json& tasks, const std::string& source);

struct Tau2Domain {
  std::string name = "mock";
  std::string policy;            // as the assistant reads it
  Json database, user_database;  // what db.json, user_db.json (or .toml) hold
};

// What a model says that judges (GraderWorld::ask_judge); empty: there is none.
using Tau2Judge = std::function<std::string(const std::vector<Message>&)>;

// Throws kUnsupported for a domain whose tools are not there (tau2/domains.h), kInvalidArgument
// naming the place where the data are not the domain's.
std::unique_ptr<Environment> tau2_environment(const Tau2Domain& domain, UserMaker user,
                                              Tau2Judge judge = {});
bool can_play_tau2(std::string_view domain);

}  // namespace dure
