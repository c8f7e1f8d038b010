// grade/tau2/world.h: the small world that a tau2 task plays in: the data of two sides and the
// functions on them.
//
// Owns the interface. Not here: its one implementation, of which a domain is a state and two tables
// of functions (function_table.h), which domains there are (domains.h), conversations and rewards
// (grade/tau2.h), who plays the user (grade/tau2_user.h).
//
// Source: sierra-research/tau2-bench, environment/environment.py and toolkit.py (commit 3e33a64a).
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
  virtual Json tools(Tau2Side side) const = 0;                         // OpenAI's declarations
  virtual bool has(Tau2Side side, const std::string& name) const = 0;  // tools and other functions
  // A call of a tool, and what follows from it on the other side. Whatever is wrong with it is its
  // result.
  virtual Tau2Result call(Tau2Side side, const std::string& name, const Json& arguments) = 0;
  // A call of a task's own action: nothing follows from it, and it may fail.
  virtual void replay(Tau2Side side, const std::string& name, const Json& arguments) = 0;
  // Of a task's initial state and assertions: functions that are no tools, too; with what follows.
  // Throws kInvalidArgument.
  virtual Json run(Tau2Side side, const std::string& name, const Json& arguments) = 0;
  // Laid over its data, key by key and deeply; lists are replaced. Throws kInvalidArgument.
  virtual void update(Tau2Side side, const Json& data) = 0;
  virtual bool same_state(const Tau2World& other) const = 0;
};

}  // namespace dure
