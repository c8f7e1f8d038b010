// engine/ngram_drafter.h: drafts out of what was said: what followed the last time the sequence
// ended as it does now.
//
// Prompt lookup (Saxena, "Prompt lookup decoding", 2023; Yang et al., "Inference with reference",
// 2023): answers quote their prompt, code repeats itself, loops loop. Drafting costs next to
// nothing, so only the rows that check the drafts do. Needs no MTP layer. A continuation that runs
// into the end of the text goes on with its own drafts, so a loop is drafted to any length. Not
// here: finding the place (ngram_index.h).
#pragma once

#include "engine/drafter.h"
#include "tensor/device.h"

namespace dure {

class NgramDrafter final : public Drafter {
 public:
  static constexpr int64_t kMatchMin = 2;  // A single token that was there before says little.

  NgramDrafter(const ModelConfig& config, Stream& stream);

  // Adds what is new of every sequence to its index. One whose index finds no memory drafts no
  // more.
  void catch_up(std::span<const FedRun> fed) override;
  Offer offer(const Sequence& sequence, int64_t most) const override;
  // Ends before a draft that the request's mask does not allow, and behind a stop token.
  void draft(std::span<const DraftTask> tasks) override;

 private:
  void draft_for(const DraftTask& task) const;

  int64_t vocab_size_;
  Stream& stream_;
};

}  // namespace dure
