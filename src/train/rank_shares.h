// train/rank_shares.h: what a rank of a table holds and moves in training, from the configuration
// alone: bytes of each kind, before anything is allocated.
//
// The same split as the learner's (shards.h) over the same layout (model/parameters.h). Not here:
// the bytes that travel (rank_traffic.h), activations (model/train_pass.h), how long it takes
// (cli/rank_plan.h).
#pragma once

#include <vector>

#include "comm/mesh.h"
#include "model/holding.h"
#include "train/learner.h"

namespace dure {

// Tensors that a group of ranks has alike, and each rank's run of them.
struct SharedTensors {
  Holding holding;
  int64_t ranks = 1;                  // of the group
  int64_t bytes = 0;                  // of the block: the masters, or one of gradients
  std::vector<int64_t> elements;      // [ranks] moved by each, padding included
  std::vector<int64_t> chunks;        // [ranks] of the gradient's norm
  std::vector<int64_t> moment_bytes;  // [ranks]
  // [ranks] of the kinds of matrices that Muon moves
  std::vector<std::vector<Shape>> muon;
  int64_t scratch_bytes(size_t rank, int64_t thread_count) const;
  // What arrives of others in a round of their sum, or of their gather.
  int64_t buffer_bytes(size_t rank) const;
};
SharedTensors share_tensors(const ModelConfig& config, const Holding& holding,
                            const LearnerOptions& options, int64_t ranks);

// What a rank of a table holds: layers of its stage, experts of its place.
Holding holding_at(const ModelConfig& config, const MeshShape& shape, const MeshPlace& place);

}  // namespace dure
