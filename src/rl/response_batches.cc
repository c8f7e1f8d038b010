// Packing of prompts and answers.
#include "rl/response_batches.h"

#include <algorithm>

namespace dure {
namespace {

int64_t length_of(const Rollout& r) { return std::ssize(r.prompt) + answer_length(r); }

void add(const Rollout& r, size_t index, ResponseBatch& batch) {
  const std::vector<int32_t>& answer = r.generation.tokens;
  const int64_t answer_row = std::ssize(batch.ids) + std::ssize(r.prompt) - 1;
  batch.ids.insert(batch.ids.end(), r.prompt.begin(), r.prompt.end());
  batch.ids.insert(batch.ids.end(), answer.begin(), answer.end());
  batch.targets.resize(batch.ids.size(), kIgnore);
  std::copy(answer.begin(), answer.end(), batch.targets.begin() + answer_row);
  batch.lengths.push_back(length_of(r));
  batch.members.push_back(index);
  batch.answer_rows.push_back(answer_row);
}

}  // namespace

std::vector<ResponseBatch> response_batches(const std::vector<Rollout>& rollouts,
                                            const ResponseWeights& weights, ResponseRange range,
                                            int64_t rows_max) {
  std::vector<ResponseBatch> batches;
  for (size_t i = range.begin; i < range.end; ++i) {
    if (weights.scales[i] == 0 || answer_length(rollouts[i]) == 0) continue;
    if (batches.empty() || std::ssize(batches.back().ids) + length_of(rollouts[i]) > rows_max)
      batches.emplace_back();
    add(rollouts[i], i, batches.back());
  }
  return batches;
}

}  // namespace dure
