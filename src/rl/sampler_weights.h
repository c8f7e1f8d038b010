// rl/sampler_weights.h: a copy of what a learner trains, for a sampler that goes on while it moves.
//
// Of a run that trains all weights the parameters once more (and their BF16 copies, with that
// arithmetic), bound as the learner binds its own: the same bits as the learner's weights were when
// they were taken. Of an adapter its factors alone: the base stays where it is and is shared. Not
// here: when a copy is taken, and who reads it (async_sampler.h).
#pragma once

#include <optional>

#include "train/learner.h"

namespace dure {

// All that a learner trains, as one row of f32: its masters, or its adapter's factors.
ConstTensorView trained_block(Learner& learner);

class SamplerWeights {
 public:
  // Allocates; the content comes with take(). The learner must outlive it. Throws kOutOfMemory.
  SamplerWeights(Learner& learner, Arithmetic arithmetic, Stream& stream);
  SamplerWeights(const SamplerWeights&) = delete;
  SamplerWeights& operator=(const SamplerWeights&) = delete;

  // `block`: as trained_block() has it, of this learner.
  void take(ConstTensorView block, Stream& stream);
  const ModelWeights& weights() const { return weights_; }

 private:
  std::optional<Parameters> parameters_;
  std::optional<AdapterParameters> adapter_;
  ModelWeights weights_;
  std::optional<Bf16Copies> copies_;
};

}  // namespace dure
