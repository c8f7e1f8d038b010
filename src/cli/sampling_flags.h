// cli/sampling_flags.h: the flags of sampling that generate and chat share.
//
// Owns their names, and the refusals that name them. Not here: what the options mean
// (engine/sampler.h), the answer (chat/speaker.h).
#pragma once

#include <cstdint>
#include <optional>

#include "chat/speaker.h"
#include "cli/arithmetic_flag.h"
#include "cli/chat_settings.h"
#include "cli/draft_flags.h"
#include "cli/kv_type_flag.h"
#include "cli/preload.h"

namespace dure {

class Args;

// What is not given follows the model's generation_config.json.
struct SamplingFlags {
  static constexpr int64_t kNewTokensMax = 512;
  ChatSettings settings;
  std::optional<int64_t> context_tokens;
  DraftFlags draft;
  ArithmeticFlag arithmetic;
  KvTypeFlag kv_type;
  PreloadFlag preload;

  void declare(Args& args);
  // Throws kInvalidArgument naming the flag that is out of range or asks what the model cannot do.
  // A context beyond the model's own is cut to it, and a warning says so.
  SpeakerOptions speaker_options(const OpenModel& model) const;

 private:
  int64_t context_of(const OpenModel& model) const;
  SamplingOptions over(const SamplingOptions& defaults) const;
};

}  // namespace dure
