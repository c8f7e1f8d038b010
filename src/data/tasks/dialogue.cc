// Users' and assistant's messages in turn.
#include "data/tasks/dialogue.h"

namespace dure {

std::vector<Message> question_messages(const Dialogue& dialogue) {
  std::vector<Message> messages;
  for (const Problem& earlier : dialogue.earlier) {
    messages.push_back({.role = Role::kUser, .content = earlier.prompt});
    messages.push_back({.role = Role::kAssistant, .content = earlier.answer});
  }
  messages.push_back({.role = Role::kUser, .content = dialogue.problem.prompt});
  return messages;
}

}  // namespace dure
