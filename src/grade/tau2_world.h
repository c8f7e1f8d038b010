// grade/tau2_world.h: the small world that a tau2 task plays in: its data and the tools on them.
//
// Owns the interface and the one domain that there is, `mock` (tasks of users, and their
// notifications). Not here: conversations and rewards (tau2.h), who plays the user (tau2_user.h).
//
// Source: sierra-research/tau2-bench, domain mock: its data and tasks (commit a2c02472), what its
// tools do (MockTools, MockUserTools). Descriptions of tools are ours.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"

namespace dure {

enum class Tau2Side { kAssistant, kUser };
Tau2Side tau2_side(const Json* name);  // null is the assistant; throws kInvalidArgument

struct Tau2Result {
  std::string text;  // as the caller reads it
  bool failed = false;
};

class Tau2World {
 public:
  virtual ~Tau2World() = default;
  virtual std::unique_ptr<Tau2World> copy() const = 0;
  // A call of a tool. Whatever is wrong with it is its result.
  virtual Tau2Result call(Tau2Side side, const std::string& name, const Json& arguments) = 0;
  virtual Json tools(Tau2Side side) const = 0;  // OpenAI's declarations
  // Of a task's initial state and assertions: functions that are no tools, too. Throws
  // kInvalidArgument.
  virtual Json run(Tau2Side side, const std::string& name, const Json& arguments) = 0;
  // Laid over its data, key by key and deeply; lists are replaced.
  virtual void update(Tau2Side side, const Json& data) = 0;
  virtual bool same_state(const Tau2World& other) const = 0;
};

// `database`, `user_database`: the contents of db.json and user_db.json.
std::unique_ptr<Tau2World> tau2_mock_world(const Json& database, const Json& user_database);

}  // namespace dure
