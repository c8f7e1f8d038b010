// train/shared_block.h: tensors that every rank of a group has alike: their gradients over a step's
// parts and over the group, and which of the ranks moves which (ZeRO, stage 1).
//
// The masters lie in the learner's block (a run of it, neighbours as here); owned are the
// gradients. Gradients of rows that other ranks sent (experts) are kept by source: each source's
// parts are a branch of the tree over parts, and the sources are added in pairs above it, so that
// sums are those of one rank. Not here: the optimiser's state (optimiser.h), the parts (shards.h).
#pragma once

#include <functional>

#include "tensor/host_array.h"
#include "train/gradient_tree.h"
#include "train/shards.h"

namespace dure {

// One block of a rank: everything where every rank of the batch has all experts; else what is no
// expert's, and the routed experts held.
struct BlockFacts {
  enum class SharedBy : uint8_t { kBatch, kData };
  Holding holding;      // these tensors; their runs in the masters' block have the same order
  int64_t sources = 1;  // neighbours in the order of parts, as many trees
  SharedBy by = SharedBy::kBatch;

  // Of the group that has it alike: its ranks, and a rank's place among them.
  int64_t ranks(const MeshShape& shape) const {
    return by == SharedBy::kBatch ? shape.batch() : shape.data;
  }
  int64_t rank(const MeshShape& shape, const MeshPlace& place) const {
    return by == SharedBy::kBatch ? place.data * shape.expert + place.expert : place.data;
  }
};
std::vector<BlockFacts> blocks_of(const MeshShape& shape, const Holding& holding);

// Of moving a tensor, for even shares.
using TensorCost = std::function<int64_t(const ImpliedTensor&)>;
std::vector<int64_t> costs_of(const ParameterLayout& layout, const TensorCost& cost);

class SharedBlock {
 public:
  // parts: of each source. `masters` and `mesh` outlive it.
  SharedBlock(Parameters& masters, const BlockFacts& facts, int64_t parts, const TensorCost& cost,
              Mesh& mesh, Device device);

  std::span<const Parameter> list() const { return sum().list(); }
  bool owns(size_t tensor) const { return shards_.owns(group_->rank(), tensor); }  // of list()
  TensorView master(size_t tensor) const { return masters_->view(list()[tensor].id); }
  TensorView gradient(size_t tensor) const { return list()[tensor].view; }

  // As GradientTree has them, of all sources at once.
  const ModelGradients& current(int64_t source = 0) const {
    return trees_[static_cast<size_t>(source)].current();
  }
  void next_part(Stream& stream);
  void fold(Stream& stream);
  void clear(Stream& stream);
  void freeze_router();

  // After fold(): this rank's run of the sum becomes that over the group.
  void reduce(Stream& stream);
  // This rank's run of the masters has moved; the others' come.
  void gather(Stream& stream);

 private:
  Parameters& sum() { return trees_[0].sum(); }
  const Parameters& sum() const { return trees_[0].sum(); }
  TensorView run_of_masters(int rank) const;

  Parameters* masters_;
  Group* group_;
  std::vector<GradientTree> trees_;  // by source
  Shards shards_;
  int64_t base_ = 0;      // element of the masters' block where these tensors begin
  HostCopy<float> room_;  // of what is sent
};

}  // namespace dure
