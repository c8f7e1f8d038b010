// eval/divergence.h: how far one local model's next-token distributions lie from another's on the
// same texts.
//
// For a quantised model and its source. Not here: verdicts of answers (compare.h).
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

// `texts` are encoded by the first model's tokenizer, cut to `tokens_max` each. Throws
// kInvalidArgument where the vocabularies are not of one size.
Divergence divergence(const OpenModel& first, const OpenModel& second,
                      const std::vector<std::string>& texts, int64_t tokens_max, Stream& stream);

}  // namespace dure
