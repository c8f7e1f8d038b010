// A script's turns; a model's part in words.
#include "grade/tau2_user.h"

#include "base/error.h"

namespace dure {
namespace {

class ScriptedUser : public UserSimulator {
 public:
  explicit ScriptedUser(std::vector<UserTurn> turns) : turns_(std::move(turns)) {}
  UserTurn speak(const std::vector<Message>&, const Json&) override {
    return next_ < turns_.size() ? turns_[next_++] : UserTurn{.text = kUserStops[0]};
  }

 private:
  std::vector<UserTurn> turns_;
  size_t next_ = 0;
};

// Text, or the fields of structured instructions, a line each.
std::string instructions_of(const Json& instructions) {
  if (instructions.is_string()) return instructions.as_string();
  std::string out;
  for (const auto& [name, value] : instructions.as_object("user_scenario: instructions"))
    if (!value.is_null()) out += name + ": " + value.as_string(name) + "\n";
  return out;
}

std::string part_of(const Json& task) {
  const Json& scenario = task.at("user_scenario");
  const Json* persona = scenario.find("persona");
  std::string part =
      "You play a customer who talks to a service agent. Stay in your part and write only what the "
      "customer says, one short message at a time. Tell what the agent needs when it asks for it, "
      "and invent nothing that your instructions do not say. If you have tools, use them when your "
      "instructions or the agent ask for what they do; a message is either words or calls.\n"
      "When what you came for is done, write ###STOP###. When the agent has handed you over to "
      "someone else, write ###TRANSFER###. When your instructions do not say how to go on, write "
      "###OUT-OF-SCOPE###.\n\n";
  if (persona != nullptr && persona->is_string())
    part += "Who you are: " + persona->as_string() + "\n";
  return part + "Your instructions: " + instructions_of(scenario.at("instructions"));
}

class ModelUser : public UserSimulator {
 public:
  ModelUser(AskUser ask, const Json& task) : ask_(std::move(ask)), part_(part_of(task)) {}
  UserTurn speak(const std::vector<Message>& conversation, const Json& tools) override {
    std::vector<Message> messages = {{.role = Role::kSystem, .content = part_}};
    messages.insert(messages.end(), conversation.begin(), conversation.end());
    Answer answer = ask_(messages, tools.size() > 0 ? tools : Json());
    return {std::move(answer.content), std::move(answer.tool_calls)};
  }

 private:
  AskUser ask_;
  std::string part_;
};

}  // namespace

bool user_stops(const std::string& text) {
  for (const char* word : kUserStops)
    if (text.find(word) != std::string::npos) return true;
  return false;
}

UserMaker scripted_user(std::vector<UserTurn> turns) {
  return [turns = std::move(turns)](const Json&) { return std::make_unique<ScriptedUser>(turns); };
}

UserMaker model_user(AskUser ask) {
  return
      [ask = std::move(ask)](const Json& task) { return std::make_unique<ModelUser>(ask, task); };
}

}  // namespace dure
