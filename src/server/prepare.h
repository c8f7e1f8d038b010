// server/prepare.h: a body of a generating endpoint as everything its answer takes: prompts, engine
// requests with their masks, the reader of each answer, the format it is written in.
//
// The work of reading a request, without sockets and engine: it may run on any thread. Not here:
// fields (chat_request.h, completion_request.h), running it (answering.h).
#pragma once

#include "server/answering.h"
#include "server/chat_request.h"
#include "server/served_model.h"

namespace dure {

// Throw ApiError. `request_id` names the request in warnings.
AnsweringOptions prepare_chat(const Json& body, const ServedModel& model,
                              const std::string& request_id);
AnsweringOptions prepare_messages(const Json& body, const ServedModel& model,
                                  const std::string& request_id);
AnsweringOptions prepare_responses(const Json& body, const ServedModel& model,
                                   const std::string& request_id);
AnsweringOptions prepare_completion(const Json& body, const ServedModel& model,
                                    const std::string& request_id);

// The choices of one rendered conversation, for the APIs that have one.
struct ChatChoices {
  std::vector<AnsweringChoice> choices;
  int64_t prompt_tokens = 0;
};
ChatChoices make_chat_choices(const ChatRequest& request, const ServedModel& model,
                              const std::string& request_id);

// The prompt's text alone.
std::string render_prompt(const ChatRequest& request, const ServedModel& model);

AnswerHead make_head(const GenerationFields& fields, const ServedModel& model,
                     const char* id_prefix);

}  // namespace dure
