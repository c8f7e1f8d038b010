// train/rank_traffic.h: the bytes that a rank sends in a training step, by arithmetic: the tables
// of docs/ranks.md as functions, one a line of them.
//
// Exact where what travels does not depend on the batch; rows of experts are those of even routing
// unless they are counted. tests/rank_traffic_e2e_test.cc compares them with what the transport
// carried. Not here: who holds what (rank_shares.h), how long it takes (cli/rank_plan.h).
#pragma once

#include <cstdint>
#include <span>

#include "train/rank_shares.h"

namespace dure {

// By one rank; `waits`: exchanges one after another, each of them a latency at least.
struct Sent {
  int64_t bytes = 0, waits = 0;
  Sent& operator+=(const Sent& other);
};

// Collectives (comm/group.h) of float values, elements[r] of member r.
Sent reduce_scatter_sent(std::span<const int64_t> elements, int64_t rank);
Sent all_gather_sent(std::span<const int64_t> elements, int64_t rank);
// Of `bytes` by each of `ranks`, in one exchange.
Sent told_all(int64_t ranks, int64_t bytes);

struct StepTraffic {
  Sent losses;     // f64 sums of this rank's parts
  Sent counts;     // rows of each expert
  Sent gradients;  // to those who move them
  Sent norm;       // sums of chunks
  Sent weights;    // that this rank has moved
  Sent end;        // of the step: votes to stop or save
  Sent experts;    // rows to other ranks' experts and back, forward and backward
  Sent stages;     // rows to the next stage and their gradients back
  Sent total() const;
};

// What a step's traffic depends on beside who holds what.
struct StepFacts {
  int64_t parts = 1;   // of the step, over all ranks
  int64_t passes = 1;  // of this rank
  int64_t rows = 0;    // of a pass
};

// What a stage's ranks have alike (rank_shares.h).
struct StageTensors {
  const SharedTensors* rest;
  const SharedTensors* routed = nullptr;  // where experts lie on several ranks
};

// Rows of a pass to other ranks' experts and back, in `layers` sparse layers, forward and backward:
// K of each token, evenly routed, and before them how many.
Sent experts_sent(const ModelConfig& config, int64_t layers, int64_t expert_ranks,
                  const StepFacts& step);
// Rows to the next stage, their gradients to the one before, and those that the MTP layer reads.
Sent stages_sent(const ModelConfig& config, const MeshShape& ranks, const MeshPlace& place,
                 const StepFacts& step);

StepTraffic step_traffic(const ModelConfig& config, const StageTensors& tensors,
                         const MeshShape& ranks, const MeshPlace& place, const StepFacts& step);

}  // namespace dure
