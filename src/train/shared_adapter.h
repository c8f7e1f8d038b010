// train/shared_adapter.h: an adapter that is trained: the factors that this rank holds, their
// gradients over a step's parts and over the ranks, and which of the ranks moves which.
//
// What SharedBlock (shared_block.h) is to a model's own tensors, in the same trees: factors that
// ranks have alike are summed over them, each moves a run (ZeRO, stage 1) and gets the others';
// factors of routed experts lie with the owner of the experts, gradients apart by the rank whose
// rows they are of. Not here: the optimiser's state (optimiser.h), the base (learner.h), files
// (formats/adapter_files.h).
#pragma once

#include <functional>
#include <vector>

#include "model/adapter.h"
#include "train/named_tensor.h"
#include "train/optimiser.h"
#include "train/shared_block.h"

namespace dure {

class SharedAdapter {
 public:
  // holding: of this rank; parts: of the step that are its own. Allocates everything. `mesh`
  // outlives it.
  SharedAdapter(const ModelConfig& config, const AdapterLayout& layout, const Holding& holding,
                int64_t parts, Mesh& mesh, Device device);
  // Of factors and gradients.
  static int64_t gradient_bytes(const ModelConfig& config, const AdapterLayout& layout,
                                const MeshShape& shape, const Holding& holding, int64_t parts);

  AdapterParameters& factors() { return factors_; }
  const AdapterParameters& factors() const { return factors_; }
  // Calls use(factor, tensor) for what this rank moves.
  void for_own(const std::function<void(const AdapterFactor&, TrainedTensor)>& use);
  // Moments by name, of all factors in the order of one rank: this one's are `state`.
  std::vector<NamedTensor> moments(const OptimiserOptions& options,
                                   std::span<const NamedTensor> state, Device device) const;

  // What the backward of the part at hand adds to: everything, or all but the routed experts.
  const ModelAdapterGradients& current() const { return blocks_[0].trees[0].current(); }
  // Of the routed experts held, by the rank whose rows they are of.
  const ModelAdapterGradients& current(int64_t source) const {
    return blocks_[1].trees[static_cast<size_t>(source)].current();
  }
  void next_part(Stream& stream);
  void clear(Stream& stream);
  // All parts are done: this rank's runs of the sums become those over the parts and the ranks.
  void reduce(Stream& stream);
  // This rank's runs have moved; the others' come.
  void gather(Stream& stream);

  // Calls take(factor, values) on every rank for all factors of all ranks, a part of experts' at a
  // time. All ranks call it.
  using Take = std::function<void(const AdapterFactor&, std::span<const float>)>;
  void tell_all(const std::vector<int64_t>& stage_layers, const Take& take, Stream& stream);
  // The whole adapter, by that.
  AdapterContent content(const std::vector<int64_t>& stage_layers, Stream& stream);

 private:
  // Gradients over parts, as GradientTree has them.
  class Tree {
   public:
    Tree(const ModelConfig& config, const AdapterLayout& layout, const Holding& holding,
         int64_t parts, Device device);
    const ModelAdapterGradients& current() const { return places_[used_ - 1]; }
    AdapterParameters& sum() { return blocks_[0]; }
    const AdapterParameters& sum() const { return blocks_[0]; }
    void next_part(Stream& stream);
    void fold(Stream& stream);

   private:
    void merge(Stream& stream);
    std::vector<AdapterParameters> blocks_;
    std::vector<ModelAdapterGradients> places_;
    size_t used_ = 1;
    int64_t closed_ = 0;
  };
  // Factors that a group of ranks has alike, as SharedBlock has tensors.
  struct Block {
    Group* group = nullptr;
    std::vector<Tree> trees;  // by source
    Shards shards;
    std::vector<size_t> places;  // in factors_, of each factor of the block
    int64_t base = 0;            // element of factors_.flat() where they begin
    HostCopy<float> room;        // of what is sent
  };
  void fold(Stream& stream);
  TensorView run_of(const Block& block, int rank) const;

  ModelConfig config_;
  Mesh& mesh_;
  AdapterParameters factors_;
  std::vector<Block> blocks_;
  HostCopy<float> room_;  // of one factor
};

// Elements that a rank at `place` tells all others in tell_all().
int64_t told_elements(const ModelConfig& config, const AdapterLayout& layout,
                      const MeshShape& shape, const MeshPlace& place,
                      const std::vector<int64_t>& stage_layers);

}  // namespace dure
