// server/chat_request.h: a body of /v1/chat/completions as what is asked of the model.
//
// Owns messages, tools, thinking and the chat's own fields. Not here: sampling and lengths
// (generation_fields.h), rendering (chat/conversation.h), the answer (chat_answer.h).
#pragma once

#include "chat/conversation.h"
#include "server/generation_fields.h"

namespace dure {

struct ChatRequest {
  GenerationFields generation;
  std::vector<Message> messages;
  ConversationOptions conversation;
  bool first_call_only = false;       // parallel_tool_calls: false
  bool include_reasoning = true;      // else it is not told
  bool reasoning_in_content = false;  // reasoning_format: none
  std::vector<std::string> unknown;
};

// Throws ApiError.
ChatRequest read_chat_request(const Json& body, const ServedModel& model);

// Of a "messages" list; `path` names it. Throws ApiError naming the message's field.
std::vector<Message> read_messages(const Json& list, const std::string& path);
// Whether an answer can go on with it: an assistant's text, with no call behind it.
bool may_be_continued(const Message& message);
// A list of declarations as templates read them, in the order and spelling they came in; kinds
// other than functions are left out with a warning. Throws ApiError.
Json read_tools_field(const Json& list, const std::string& path);

}  // namespace dure
