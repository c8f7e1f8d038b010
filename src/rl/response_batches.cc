// Packing of prompts and answers.
#include "rl/response_batches.h"

#include <algorithm>

namespace dure {
namespace {

int64_t length_of(const Rollout& r) {
  return std::ssize(r.prompt) + std::ssize(r.generation.tokens);
}

// The answers' places behind the prompt.
std::vector<PlayedEpisode::Span> spans_of(const Rollout& r) {
  if (r.episode) return r.episode->answers;
  return {{.begin = 0, .count = std::ssize(r.generation.tokens)}};
}

void add(const Rollout& r, size_t index, ResponseBatch& batch) {
  const std::vector<int32_t>& answer = r.generation.tokens;
  const int64_t answer_row = std::ssize(batch.ids) + std::ssize(r.prompt) - 1;
  batch.ids.insert(batch.ids.end(), r.prompt.begin(), r.prompt.end());
  batch.ids.insert(batch.ids.end(), answer.begin(), answer.end());
  batch.targets.resize(batch.ids.size(), kIgnore);
  for (const PlayedEpisode::Span& span : spans_of(r)) {
    std::copy_n(answer.begin() + span.begin, span.count,
                batch.targets.begin() + answer_row + span.begin);
  }
  batch.lengths.push_back(length_of(r));
  batch.members.push_back(index);
  batch.answer_rows.push_back(answer_row);
}

}  // namespace

std::vector<float> of_answers(const Rollout& r, std::span<const float> rows) {
  std::vector<float> out;
  for (const PlayedEpisode::Span& span : spans_of(r)) {
    const auto begin = rows.begin() + span.begin;
    out.insert(out.end(), begin, begin + span.count);
  }
  return out;
}

void to_answers(const Rollout& r, std::span<const float> values, std::span<float> rows) {
  auto from = values.begin();
  for (const PlayedEpisode::Span& span : spans_of(r)) {
    std::copy_n(from, span.count, rows.begin() + span.begin);
    from += span.count;
  }
}

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
