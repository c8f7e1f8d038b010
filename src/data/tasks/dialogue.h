// data/tasks/dialogue.h: questions put in turn as the messages of a conversation.
//
// One rule for fine-tuning, evaluation and reinforcement learning, so that what is learnt, measured
// and rewarded is asked in the same words. Not here: drawing them (mixture.h), the chat format
// (text/chat.h), prompts (chat/conversation.h).
#pragma once

#include <vector>

#include "data/tasks/mixture.h"
#include "text/chat.h"

namespace dure {

// Earlier questions with their right answers, without reasoning; then the question to be answered.
std::vector<Message> question_messages(const Dialogue& dialogue);

}  // namespace dure
