// server/thinking_fields.h: whether and how long the model reasons before it answers, and where its
// reasoning is told: one reading for every API, whatever the names that its clients know.
//
// Not here: what ends the reasoning (chat/thinking_budget.h), templates (text/chat_template.h).
#pragma once

#include "server/chat_request.h"

namespace dure {

// Into the conversation (thinking, the template's variables), the budget, and how the reasoning is
// told. Where several fields say whether to reason, the most particular counts:
// chat_template_kwargs, enable_thinking, thinking, reasoning, reasoning_effort. Throws ApiError.
void read_thinking(ApiFields& fields, ChatRequest& out);

}  // namespace dure
