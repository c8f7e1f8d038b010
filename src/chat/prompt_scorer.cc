// A scorer of one sequence at a time, under a lock.
#include "chat/prompt_scorer.h"

#include <algorithm>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "engine/known_tokens.h"
#include "engine/scorer.h"
#include "tensor/cpu_stream.h"

namespace dure {

struct PromptScorer::State {
  const OpenModel& model;
  int64_t prompt_tokens_max, adapter_rank;
  std::mutex mutex;
  std::optional<CpuStream> stream;
  std::optional<Scorer> scorer;

  Scorer& ready() {
    if (!scorer) {
      stream.emplace();
      scorer.emplace(model.weights,
                     ScorerOptions{.sequence_tokens_max = prompt_tokens_max,
                                   .chunk_tokens = std::min(prompt_tokens_max, kPassRows),
                                   .sequences_max = 8,
                                   .adapter_rank = adapter_rank},
                     *stream);
    }
    return *scorer;
  }
};

PromptScorer::PromptScorer(const OpenModel& model, int64_t prompt_tokens_max,
                           int64_t adapter_rank)
    : state_(new State{model, prompt_tokens_max, adapter_rank, {}, {}, {}}) {}

PromptScorer::~PromptScorer() = default;

std::vector<std::vector<PromptScore>> PromptScorer::score(
    const std::vector<std::vector<int32_t>>& prompts, int64_t top_count,
    const ModelAdapter* adapter) {
  std::vector<std::span<const int32_t>> sequences;
  std::vector<std::vector<PromptScore>> out;
  for (const std::vector<int32_t>& prompt : prompts) {
    if (std::ssize(prompt) > state_->prompt_tokens_max) {
      fail(ErrorCode::kInvalidArgument, "a prompt of {} tokens; at most {} are scored",
           std::ssize(prompt), state_->prompt_tokens_max);
    }
    require_known_tokens(prompt, state_->model.weights.config.vocab_size, "prompt token");
    sequences.emplace_back(prompt);
    out.emplace_back();
    for (const int32_t token : prompt) out.back().push_back({.token = token});
  }
  const std::lock_guard lock(state_->mutex);
  state_->ready().score(
      sequences,
      [&](const ScoredRows& rows) {
        const size_t vocab = rows.logits.size() / rows.log_probability.size();
        for (size_t r = 0; r < rows.log_probability.size(); ++r) {
          const size_t next = static_cast<size_t>(rows.first_position) + r + 1;
          std::vector<PromptScore>& scores = out[rows.sequence];
          if (next >= scores.size()) continue;
          PromptScore& score = scores[next];
          score.log_probability = rows.log_probability[r];
          const std::span<const float> logits = rows.logits.subspan(r * vocab, vocab);
          const float log_sum_exp =
              logits[static_cast<size_t>(score.token)] - score.log_probability;
          add_likeliest(logits, log_sum_exp, std::min<int64_t>(top_count, std::ssize(logits)),
                        score.top);
        }
      },
      adapter);
  return out;
}

}  // namespace dure
