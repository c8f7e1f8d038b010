// train/rank_shares.h: what a rank of a table holds and moves in training, from the configuration
// alone: bytes of each kind, before anything is allocated.
//
// The learner's own split (shards.h) of the same blocks (shared_block.h) in the same layout
// (model/parameters.h). Not here: the bytes that travel (rank_traffic.h), activations
// (model/train_pass.h), how long it takes (cli/rank_plan.h).
#pragma once

#include <vector>

#include "train/learner.h"
#include "train/shared_block.h"

namespace dure {

// Tensors that a group of ranks has alike, and each rank's run of them.
struct SharedTensors {
  BlockFacts facts;
  int64_t bytes = 0;                  // of the block: the masters, or one of gradients
  std::vector<int64_t> elements;      // [ranks] moved by each, padding included
  std::vector<int64_t> moment_bytes;  // [ranks]
  // Of the gradients that are complete together, in that order: the elements that each rank sums.
  std::vector<std::vector<int64_t>> pieces;
  // [ranks] of the matrices that Muon moves
  std::vector<std::vector<Shape>> muon;
  int64_t scratch_bytes(size_t rank, int64_t thread_count) const;
  // What arrives of others in a round of their sum, which is kept, and of their gather.
  int64_t summing_bytes(size_t rank) const;
  int64_t gather_bytes(size_t rank) const;
};

// A block that is not allocated, and its split over the ranks of its group.
struct BlockShares {
  ParameterLayout layout;
  std::vector<int64_t> costs;  // of each tensor; 0: nothing is moved
  Shards shards;
};
BlockShares shares_of(const ModelConfig& config, const LearnerOptions& options,
                      const MeshShape& shape, const BlockFacts& facts);

// Of a stage: everything, or all but the routed experts, and a part of those.
std::vector<SharedTensors> share_tensors(const ModelConfig& config, const LearnerOptions& options,
                                         const MeshShape& shape, int64_t stage);
}  // namespace dure
