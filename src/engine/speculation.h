// engine/speculation.h: tokens guessed ahead and checked together: who drafts how many for whom,
// and what became of them.
//
// What stands. The model's own row decides every token, by the very rule and random number as if
// nothing had been drafted (Sampler::sample with draw_uniform()); a draft stands if it is that
// token. So a request's tokens and log-probabilities do not depend on drafts, drafters or their
// lengths: only when they come does. (Drafter-invariant speculative decoding: Daliri, Musco and
// Suresh, "Coupling without communication and drafter-invariant speculative decoding", 2024. The
// rule of Leviathan et al., 2023, accepts some more drafts, but its tokens change with them.)
//
// Owns the drafters and the policy, and counts. Not here: the check itself (generator.cc).
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "engine/mtp_drafter.h"
#include "engine/ngram_drafter.h"

namespace dure {

class Speculation {
 public:
  using Clock = std::chrono::steady_clock;

  // Everything given must outlive it. options.draft_tokens_max >= 1.
  Speculation(const ModelWeights& weights, const GeneratorOptions& options, KvCache& cache,
              Activations& activations, const DraftBuffers& buffers, Stream& stream);

  struct Pass {
    std::span<const FedRun> fed;
    int64_t rows = 0;         // of all of them
    int64_t prompt_rows = 0;  // that wait for the next pass
    Clock::time_point start;
  };
  // After a pass of the model, whose tokens are drawn: keeps up with it and drafts for those that
  // go on to decode.
  void run(const Pass& pass);
  // The model's tokens for a sequence's newest token and its drafts: as far as those stand, and one
  // more. Before the drafts are dropped.
  void judge(Sequence& sequence, std::span<const int32_t> chosen);
  void fill(GeneratorStatistics& out) const;

 private:
  int64_t wanted(const Sequence& sequence) const;
  void ask(std::span<const FedRun> fed);
  void draft();

  GeneratorOptions options_;
  DraftPolicy policy_;
  std::optional<MtpDrafter> mtp_;
  std::optional<NgramDrafter> ngrams_;
  std::vector<Sequence*> sequences_;  // that decode
  std::vector<DraftPolicy::Asking> asking_;
  std::vector<DraftTask> tasks_;
  DraftStatistics counts_;
};

}  // namespace dure
