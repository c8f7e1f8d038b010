// server/completion_request.h: a body of /v1/completions: texts, or token ids, to go on with.
#pragma once

#include "server/generation_fields.h"

namespace dure {

struct CompletionRequest {
  GenerationFields generation;  // tokens_max is always given; 0: score the prompt alone
  std::vector<std::vector<int32_t>> prompts;  // none empty
  bool echo = false;
  std::vector<std::string> unknown;
};

// Encodes the prompts too. Throws ApiError.
CompletionRequest read_completion_request(const Json& body, const ServedModel& model);

// `list`: token ids. Throws ApiError naming `path`.
std::vector<int32_t> read_tokens(const Json& list, const std::string& path,
                                 const ServedModel& model);

}  // namespace dure
