// rl/reference_model.h: the model that a run began with, kept beside the one that learns: what a KL
// term measures the distance from.
//
// Its weights as the learner holds its own, so that before the first update both give the same
// bits. Memory: the parameters once more; beside an adapter none, its base is that model, or the
// factors of the adapter that is trained further, once more. Not here: the term (objectives.h).
#pragma once

#include <optional>

#include "base/file.h"
#include "model/bf16_copies.h"
#include "model/parameters.h"
#include "model/weights.h"
#include "train/learner.h"

namespace dure {

class ReferenceModel {
 public:
  // What is held of it is what the learner holds; the rest is reached by its exchange. Throws
  // kNotFound where the model folder is gone, and what reading it throws.
  ReferenceModel(const Path& init, Learner& learner, Stream& stream);
  // Of a learner of an adapter: its base, in its stored types and where it is, alone or with the
  // adapter of `from`, which the run began with; empty: with a new one, which adds nothing. What is
  // held is what `learner` holds, which must outlive this. Throws kNotFound where that adapter is
  // gone.
  ReferenceModel(Learner& learner, const Path& from, Stream& stream);
  ReferenceModel(const ReferenceModel&) = delete;
  ReferenceModel& operator=(const ReferenceModel&) = delete;

  // Of one that is read.
  static int64_t bytes(const ModelConfig& config, Arithmetic arithmetic);
  const ModelWeights& weights() const { return weights_; }

 private:
  std::optional<Parameters> parameters_;
  ModelWeights weights_;
  std::optional<Bf16Copies> copies_;
};

}  // namespace dure
