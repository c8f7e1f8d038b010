// train/gathered_weights.h: a learner's weights whole on every rank, for those that sample from
// them: its own where they lie, and copies of what lies on other ranks.
//
// Of routed experts that several ranks own: all of this stage's layers, once more. Of other stages
// of a pipeline: all that they have but the MTP layer, which samples nothing. Of an adapter its
// factors, once more, beside a base that every rank maps whole. Owns the copies: f32, and BF16
// where products are. Not here: the exchanges that training uses instead (model/expert_ranks.h,
// stage_link.h).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "train/learner.h"

namespace dure {

class GatheredWeights {
 public:
  // Whether a rank of such a table lacks weights.
  static bool needed(const MeshShape& shape) { return shape.expert > 1 || shape.pipeline > 1; }

  // `learner` outlives it. Copies are empty until refresh(). files: of an adapter's base.
  GatheredWeights(Learner& learner, std::shared_ptr<const ModelFiles> files, Stream& stream);
  // Of a rank at `place`. stage_layers: as LearnerOptions has them.
  static int64_t bytes(const ModelConfig& config, const MeshShape& shape, const MeshPlace& place,
                       const std::vector<int64_t>& stage_layers, Arithmetic arithmetic);

  const ModelWeights& weights() const { return weights_; }
  // After the learner's have changed. All ranks call it.
  void refresh();
  // By this rank, in all refreshes (train/rank_traffic.h counts one beforehand).
  int64_t sent_bytes() const { return sent_bytes_; }

 private:
  // Tensors of one stage that lie elsewhere.
  struct Copies {
    Copies(const ModelConfig& config, const Holding& holding, Device device)
        : parameters(config, holding, device) {}
    Parameters parameters;
    std::optional<Bf16Copies> rounded;
  };
  void bind_copies();
  ConstTensorView own(TensorId id) const;  // whole, of a tensor of this stage
  void gather_adapter();
  void gather_experts();
  void gather_stages();

  Learner& learner_;
  Stream& stream_;
  std::vector<std::unique_ptr<Copies>> stages_;  // null: nothing of it lies elsewhere
  std::optional<AdapterParameters> adapter_;     // whole
  ModelWeights weights_;
  HostCopy<float> room_;
  int64_t sent_bytes_ = 0;
};

}  // namespace dure
