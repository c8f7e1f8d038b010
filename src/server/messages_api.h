// server/messages_api.h: Anthropic's Messages: its bodies as chat requests, its answers whole and
// as streams.
//
// Not here: sampling fields (generation_fields.h), errors in its shape (api_error.h).
#pragma once

#include "server/answer_format.h"
#include "server/chat_request.h"

namespace dure {

// Throws ApiError.
ChatRequest read_messages_request(const Json& body, const ServedModel& model);

std::unique_ptr<AnswerFormat> messages_stream_format(AnswerHead head, int64_t prompt_tokens);
std::unique_ptr<AnswerFormat> messages_whole_format(AnswerHead head);

}  // namespace dure
