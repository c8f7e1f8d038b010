// cli/draft_flags.h: the flags of drafts that generate, chat, serve, bench and plan share.
//
// Owns their names, and the refusals that name them. Not here: what drafts are
// (engine/speculation.h), how many pay (engine/draft_policy.h).
#pragma once

#include <optional>
#include <string>

#include "engine/generator.h"

namespace dure {

class Args;

struct DraftSettings {
  int64_t tokens_max = 0;  // 0: none
  DrafterChoice drafter = DrafterChoice::kMtp;
  DraftLength length = DraftLength::kFixed;
  void give(GeneratorOptions& options) const;
};

class DraftFlags {
 public:
  static constexpr int64_t kTokensMax = 64;
  static constexpr int64_t kMeasuredMax = 8;  // drafts at most where as many are made as pay

  void declare(Args& args);
  bool given() const { return draft_ || drafter_; }
  void check() const;  // Throws kInvalidArgument, as far as no model is needed to say so.

  // `source`: the model's name in messages. Where as many are drafted as pay, at most as many as
  // `rows_max` rows of a pass (0: any number) leave to each of the sequences. Throws
  // kInvalidArgument naming the flag that is out of range or asks what the model cannot do.
  DraftSettings settings(const ModelConfig& config, const std::string& source,
                         int64_t sequences_max = 1, int64_t rows_max = 0) const;
  // As --draft has it.
  static DraftSettings parse(const std::string& draft, const std::optional<std::string>& drafter);

 private:
  std::optional<std::string> draft_, drafter_;
};

}  // namespace dure
