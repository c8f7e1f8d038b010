// rl/response_batches.h: responses as packed batches for the training pass: each is a document, and
// only its answer has targets.
//
// Of an episode, what the environment said between its answers has none either.
//
// Not here: sampling them (rollout.h), how much each counts (advantages.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/train_pass.h"
#include "rl/advantages.h"
#include "rl/rollout.h"

namespace dure {

struct ResponseBatch {
  std::vector<int32_t> ids, targets;  // [T]
  std::vector<int64_t> lengths;       // of the documents, sum to T
  std::vector<size_t> members;        // indices of rollouts
  std::vector<int64_t> answer_rows;   // row that predicts the first token behind each prompt

  TrainInput input() const { return {.ids = ids, .targets = targets, .document_lengths = lengths}; }
};

// Of `rows`, one for each token behind the prompt, those of tokens that the model drew, in order.
std::vector<float> of_answers(const Rollout& r, std::span<const float> rows);
// Back to their rows, over what is there.
void to_answers(const Rollout& r, std::span<const float> values, std::span<float> rows);

// Rollouts begin .. end-1 in order, cut where the rows would pass `rows_max`. Dropped responses
// (scale 0) cost nothing.
struct ResponseRange {
  size_t begin = 0, end = 0;
};
std::vector<ResponseBatch> response_batches(const std::vector<Rollout>& rollouts,
                                            const ResponseWeights& weights, ResponseRange range,
                                            int64_t rows_max);

}  // namespace dure
