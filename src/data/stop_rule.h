// data/stop_rule.h: at which tokens an answer ends: one rule for chat, generation, evaluation, RL,
// fine-tuning and serving.
//
// Owns which of a model's statements about its end tokens count, how they add up, and that each is
// a token of the model. A further place that names end tokens is a field of StopSources and a line
// of stop_rule(). Not here: stopping while sampling (GenerationRequest::stop_tokens), keeping the
// token out of the text (chat/answer_stream.h), stop strings.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "formats/model_files.h"
#include "text/tokenizer.h"

namespace dure {

// What a model says about the end of an answer, place by place.
struct StopSources {
  std::vector<int64_t> config;       // eos_token_id of config.json, or the GGUF key's
  std::vector<int64_t> generation;   // eos_token_id of generation_config.json
  std::vector<int64_t> gguf_turn;    // a GGUF file's eot_token_id and eom_token_id
  std::optional<int32_t> tokenizer;  // the end token that the tokenizer names
  std::vector<int64_t> chat_format;  // marks that end an answer in the model's chat format
};

struct StopRule {
  std::vector<int32_t> tokens;  // ascending, each once
  bool stops_at(int32_t token) const;
};

// The union of what the sources say.
StopRule stop_rule(const StopSources& sources);

// What this model says. `tokenizer`: the model's own, null where it has none. Throws
// kInvalidArgument naming the file whose end token is none of the model's tokens.
StopSources find_stops(const ModelFiles& files, const Tokenizer* tokenizer);

}  // namespace dure
