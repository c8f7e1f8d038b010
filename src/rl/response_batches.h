// rl/response_batches.h: responses as packed batches for the training pass: each is a document, and
// only its answer has targets.
//
// Not here: sampling them (rollout.h), how much each counts (advantages.h).
#pragma once

#include <cstdint>
#include <vector>

#include "model/train_pass.h"
#include "rl/advantages.h"
#include "rl/rollout.h"

namespace dure {

inline int64_t answer_length(const Rollout& r) { return std::ssize(r.generation.tokens); }

struct ResponseBatch {
  std::vector<int32_t> ids, targets;  // [T]
  std::vector<int64_t> lengths;       // of the documents, sum to T
  std::vector<size_t> members;        // indices of rollouts
  std::vector<int64_t> answer_rows;   // row that predicts the first token of each answer

  TrainInput input() const { return {.ids = ids, .targets = targets, .document_lengths = lengths}; }
};

// Rollouts begin .. end-1 in order, cut where the rows would pass `rows_max`. Dropped responses
// (scale 0) cost nothing.
struct ResponseRange {
  size_t begin = 0, end = 0;
};
std::vector<ResponseBatch> response_batches(const std::vector<Rollout>& rollouts,
                                            const ResponseWeights& weights, ResponseRange range,
                                            int64_t rows_max);

}  // namespace dure
