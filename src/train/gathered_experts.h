// train/gathered_experts.h: a learner's weights whole on every rank, for those that sample from
// them: its own, and a copy of the routed experts that lie on other ranks.
//
// Owns the copy: all routed experts in f32 once more, and in BF16 where products are. Not here: the
// exchange of rows that training uses instead (model/expert_ranks.h).
#pragma once

#include <optional>

#include "train/learner.h"

namespace dure {

class GatheredExperts {
 public:
  // `learner` outlives it. Empty experts until refresh().
  GatheredExperts(Learner& learner, Stream& stream);
  static int64_t bytes(const ModelConfig& config, Arithmetic arithmetic);

  const ModelWeights& weights() const { return weights_; }
  // After the learner's have changed. All ranks of an expert group call it.
  void refresh();

 private:
  Learner& learner_;
  Stream& stream_;
  Parameters experts_;
  std::optional<Bf16Copies> copies_;
  ModelWeights weights_;
  HostCopy<float> room_;
};

}  // namespace dure
