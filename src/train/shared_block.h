// train/shared_block.h: tensors that every rank of a group has alike: their gradients over a step's
// parts and over the group, and which of the ranks moves which (ZeRO, stage 1).
//
// The masters lie in the learner's block (a run of it, neighbours as here); owned are the
// gradients. Gradients of rows that other ranks sent (experts) are kept by source: each source's
// parts are a branch of the tree over parts, and the sources are added in pairs above it, so that
// sums are those of one rank. A layer's gradients go to the group as soon as they are complete,
// while the backward goes on. Not here: the optimiser's state (optimiser.h), the parts (shards.h).
#pragma once

#include <functional>
#include <memory>

#include "tensor/host_array.h"
#include "train/gradient_tree.h"
#include "train/shards.h"
#include "train/summing_thread.h"

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

// Neighbours in a block whose gradients are complete with one layer of a backward.
struct GradientPiece {
  int64_t layer = 0;  // as GradientsComplete has it; -1: with the embedding, at the end
  int64_t first = 0, count = 0;
};
// In the order of their completion; together all of the block.
std::vector<GradientPiece> gradient_pieces(const ParameterLayout& layout, int64_t layer_count);
// Elements of a piece by the rank that sums them, in the order in which they lie.
std::vector<int64_t> shares_of_piece(const GradientPiece& piece, const Shards& shards);

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
  void clear(Stream& stream);
  void freeze_router();

  // Of this rank's last backward: nothing more is added to `layer` and what TrainPass completed
  // before it (GradientsComplete); their sum over the group begins.
  void complete(int64_t layer, Stream& stream);
  // All parts are done: this rank's run of the sum over its parts becomes that over the group.
  void reduce(Stream& stream);
  // Of sums over the group so far, sent and received.
  int64_t summed_bytes() const { return summing_ ? summing_->bytes() : 0; }
  // This rank's run of the masters has moved; the others' come.
  void gather(Stream& stream);

 private:
  Parameters& sum() { return trees_[0].sum(); }
  const Parameters& sum() const { return trees_[0].sum(); }
  TensorView run_of_masters(int rank) const;

  void fold(const GradientPiece& piece, Stream& stream);
  void hand_over(const GradientPiece& piece, Stream& stream);

  Parameters* masters_;
  Group* group_;
  std::vector<GradientTree> trees_;  // by source
  Shards shards_;
  int64_t base_ = 0;      // element of the masters' block where these tensors begin
  HostCopy<float> room_;  // of what is sent
  HostLanding<float> landing_;  // of what is summed
  std::vector<GradientPiece> pieces_;
  size_t handed_ = 0;                       // of them, in this step
  std::unique_ptr<SummingThread> summing_;  // the last: it goes first
};

}  // namespace dure
