// server/openai_answer.h: the answers of /v1/chat/completions and /v1/completions.
//
// Shapes and order of events as OpenAI's SDKs accumulate them (docs/api.md): the role once, a
// call's id and name once, no numbers inside a delta. Not here: when anything is sent
// (answering.h).
#pragma once

#include "server/answer_format.h"

namespace dure {

std::unique_ptr<AnswerFormat> chat_stream_format(AnswerHead head);
std::unique_ptr<AnswerFormat> chat_whole_format(AnswerHead head);

struct CompletionHead {
  AnswerHead head;
  std::vector<std::string> echoes;  // the text before each choice; empty: none
  // Of the tokens of each choice's prompt, the first without a log-probability; empty: not asked.
  std::vector<std::vector<TokenRecord>> echoed_tokens;
};
std::unique_ptr<AnswerFormat> completion_stream_format(CompletionHead head);
std::unique_ptr<AnswerFormat> completion_whole_format(CompletionHead head);

// Each token with its log-probability and the likeliest, as OpenAI has them.
Json logprobs_json(const AnswerHead& head, std::span<const TokenRecord> tokens);
Json usage_json(const AnswerTotals& totals);
Json timings_json(const AnswerTotals& totals);  // llama.cpp's names

}  // namespace dure
