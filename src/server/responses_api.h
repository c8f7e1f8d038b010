// server/responses_api.h: OpenAI's Responses, without state: its bodies as chat requests, its
// answers whole and as streams.
//
// Nothing is kept between requests: previous_response_id is refused by name. Not here: sampling
// fields (generation_fields.h).
#pragma once

#include "server/answer_format.h"
#include "server/chat_request.h"

namespace dure {

// Throws ApiError.
ChatRequest read_responses_request(const Json& body, const ServedModel& model);

// `asked`: the request's body, of which the answer repeats the settings.
std::unique_ptr<AnswerFormat> responses_stream_format(AnswerHead head, const Json& asked,
                                                      const SamplingOptions& sampling);
std::unique_ptr<AnswerFormat> responses_whole_format(AnswerHead head, const Json& asked,
                                                     const SamplingOptions& sampling);

}  // namespace dure
