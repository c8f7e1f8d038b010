// chat/stop_rule.h: at which tokens an answer ends: one rule for chat, generation, evaluation, RL
// and serving.
//
// Owns which of a model's statements about its end tokens count, and how they add up. A further
// place that names end tokens is a field of StopSources and a line of stop_rule(). Not here:
// reading those places (chat_texts.cc), stopping while sampling (GenerationRequest::stop_tokens),
// keeping the token out of the text (answer_stream.h), stop strings.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace dure {

// What a model says about the end of an answer, place by place.
struct StopSources {
  std::vector<int64_t> config;  // eos_token_id of config.json, or the GGUF key's
  // eos_token_id of generation_config.json. Stands for `config`, as in transformers.
  std::optional<std::vector<int64_t>> generation;
  std::optional<int32_t> tokenizer;  // the end token that the tokenizer names
};

struct StopRule {
  std::vector<int32_t> tokens;  // ascending, each once
  bool stops_at(int32_t token) const;
};

// The union of what the sources say.
StopRule stop_rule(const StopSources& sources);

}  // namespace dure
