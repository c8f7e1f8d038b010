// grade/tau2_user.h: who plays the user in a tau2 task.
//
// Owns the interface, a user who reads from a script, and one who is a model. Not here: what the
// user's tools do (tau2/world.h), when an episode is over (tau2.h).
//
// The words that end a conversation are tau2's: kUserStops. What a model is told about its part is
// ours; the published simulator is gpt-4.1 with guidelines of its own, and scores of two simulators
// are not comparable.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "grade/grader.h"
#include "text/chat.h"

namespace dure {

inline constexpr std::array kUserStops = {"###STOP###", "###TRANSFER###", "###OUT-OF-SCOPE###"};
bool user_stops(const std::string& text);

// Either speaks or calls its own tools.
struct UserTurn {
  std::string text;
  std::vector<ToolCall> tool_calls;
};

class UserSimulator {
 public:
  virtual ~UserSimulator() = default;
  // `conversation`: as the user sees it: what the assistant says is Role::kUser, its own words are
  // Role::kAssistant, with its own calls and their results.
  virtual UserTurn speak(const std::vector<Message>& conversation, const Json& tools) = 0;
};

// For one episode of the task, as tasks.json has it. Thread-safe.
using UserMaker = std::function<std::unique_ptr<UserSimulator>(const Json& task)>;

// Its turns in order, then ###STOP###.
UserMaker scripted_user(std::vector<UserTurn> turns);

// Any model: answers a conversation that begins with its part as a system message.
using AskUser = std::function<Answer(const std::vector<Message>& messages, const Json& tools)>;
UserMaker model_user(AskUser ask);

}  // namespace dure
