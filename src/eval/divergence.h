// eval/divergence.h: how far one local model's next-token distributions lie from another's on the
// same texts.
//
// For a quantised model and its source, or one model with other keys and values. Not here: verdicts
// of answers (compare.h).
#pragma once

#include <string>
#include <vector>

#include "chat/open_model.h"

namespace dure {

struct Divergence {
  int64_t texts = 0, tokens = 0;
  double mean_nats = 0;       // KL(first || second) a token
  double most_nats = 0;       // of one token
  double same_top_share = 0;  // tokens whose likeliest successor is the same
};

struct DivergenceOptions {
  int64_t tokens_max = 1024;  // of a text; the rest is cut off
  DType first_kv_dtype = DType::kF32, second_kv_dtype = DType::kF32;  // of keys and values
};

// `texts` are encoded by the first model's tokenizer. Throws kInvalidArgument where the
// vocabularies are not of one size.
Divergence divergence(const OpenModel& first, const OpenModel& second,
                      const std::vector<std::string>& texts, const DivergenceOptions& options,
                      Stream& stream);

}  // namespace dure
