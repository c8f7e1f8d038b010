// cli/chat_settings.h: what a person may set while they talk: sampling and lengths, by name.
//
// Owns the names and ranges. Not here: what they do (engine/sampler.h), flags
// (sampling_flags.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.h"

namespace dure {

// What is absent follows the model.
struct ChatSettings {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<int64_t> top_k, seed, max_tokens;

  // One by its name, as /set has it ("default": as the model has it). Throws kInvalidArgument.
  void set(const std::string& name, const std::string& value);
  std::string text() const;  // "temperature 0.7, top_p as the model has it, ..."
  static std::vector<std::string> names();

  SamplingOptions over(const SamplingOptions& model) const;  // The seed too, if it is given.
};

}  // namespace dure
