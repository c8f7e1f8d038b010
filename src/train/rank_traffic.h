// train/rank_traffic.h: the bytes that one rank sends in one training step, counted from the
// configuration and the table of axes: what docs/ranks.md says in words.
//
// Exact where the rows that experts' ranks exchange are known; balanced_rows() says what they are
// where every expert is chosen as often as any other. A step's held-out measurements, checkpoints
// and votes are apart. Not here: what really was sent (comm/group.h, Traffic).
#pragma once

#include "train/learner.h"

namespace dure {

// Passes of one rank in a step, and rows that its routed experts' layers exchanged in them:
// forwards alone, all layers together.
struct ExchangedRows {
  int64_t passes = 0;
  double sent = 0, received = 0;
  double tokens = 0;  // rows of its passes, which stages hand on
};
// rows: of one pass. holding: whose layers.
ExchangedRows balanced_rows(const ModelConfig& config, const MeshShape& shape, int64_t passes,
                            int64_t rows, const Holding& holding = {});

// Bytes sent by one rank.
struct StepTraffic {
  double losses = 0;     // of every part, to the batch, and their sums, to the other stages
  double counts = 0;     // of tokens to each expert, to all
  double routing = 0;    // how many rows go to which expert, each pass and layer
  double rows = 0;       // routed rows and results, and their gradients
  double gradients = 0;  // to those who move the tensors
  double norm = 0;       // chunks' sums, to all ranks
  double weights = 0;    // those that this rank moved
  double stages = 0;     // hidden rows and their gradients, to other stages
  double total() const {
    return losses + counts + routing + rows + gradients + norm + weights + stages;
  }
};
// Once for each state of the weights that is sampled from (train/gathered_weights.h).
double gather_sent(const ModelConfig& config, const MeshShape& shape, const MeshPlace& place,
                   const std::vector<int64_t>& stage_layers);
// The votes at its end: to stop, to save.
double votes_sent(const MeshShape& shape);

// part_sums: numbers a part has (next-token learning: 5). The first step of a run tells once where
// chunks stand, 8 bytes more for each and 8, to all; not counted.
StepTraffic step_traffic(const ModelConfig& config, const LearnerOptions& options,
                         const MeshShape& shape, const MeshPlace& place, const ExchangedRows& rows,
                         int64_t part_sums = 5);

}  // namespace dure
