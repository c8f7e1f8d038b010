// One text at a time through both models: the first one's distributions wait for the second's.
#include "eval/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "engine/known_tokens.h"
#include "engine/scorer.h"

namespace dure {
namespace {

// Log-probabilities of every row of one text, [T, V].
std::vector<float> distributions(Scorer& scorer, const std::vector<int32_t>& ids, size_t vocab) {
  std::vector<float> out(ids.size() * vocab);
  const std::span<const int32_t> text(ids);
  scorer.score(std::span(&text, 1), [&](const ScoredRows& rows) {
    std::copy(rows.logits.begin(), rows.logits.end(),
              out.begin() + static_cast<std::ptrdiff_t>(rows.first_position) *
                                static_cast<std::ptrdiff_t>(vocab));
  });
  for (size_t row = 0; row < ids.size(); ++row) {
    const std::span<float> logits = std::span(out).subspan(row * vocab, vocab);
    const float most = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x - most));
    const float norm = most + static_cast<float>(std::log(sum));
    for (float& x : logits) x -= norm;
  }
  return out;
}

size_t top_of(std::span<const float> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

double kl_of(std::span<const float> p, std::span<const float> q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double x = p[i];
    if (x > -80) sum += std::exp(x) * (x - static_cast<double>(q[i]));
  }
  return std::max(0.0, sum);
}

}  // namespace

Divergence divergence(const OpenModel& first, const OpenModel& second,
                      const std::vector<std::string>& texts, const DivergenceOptions& options,
                      Stream& stream) {
  const int64_t vocab = first.weights.config.vocab_size;
  if (vocab != second.weights.config.vocab_size) {
    fail(ErrorCode::kInvalidArgument,
         "the two models have {} and {} tokens: their distributions cannot be compared", vocab,
         second.weights.config.vocab_size);
  }
  ScorerOptions scoring{.sequence_tokens_max = options.tokens_max,
                        .chunk_tokens = 256,
                        .sequences_max = 1,
                        .kv_dtype = options.first_kv_dtype};
  Scorer left(first.weights, scoring, stream);
  scoring.kv_dtype = options.second_kv_dtype;
  Scorer right(second.weights, scoring, stream);
  Divergence out;
  const size_t width = static_cast<size_t>(vocab);
  const InterruptScope scope;
  for (const std::string& text : texts) {
    throw_if_interrupted("nothing was saved");
    std::vector<int32_t> ids = first.texts.require_tokenizer().encode(text);
    ids.resize(std::min(ids.size(), static_cast<size_t>(options.tokens_max)));
    if (ids.size() < 2) continue;
    require_known_tokens(ids, vocab, "token");
    const std::vector<float> p = distributions(left, ids, width);
    const std::vector<float> q = distributions(right, ids, width);
    for (size_t row = 0; row < ids.size(); ++row) {
      const auto a = std::span(p).subspan(row * width, width);
      const auto b = std::span(q).subspan(row * width, width);
      const double nats = kl_of(a, b);
      out.mean_nats += nats;
      out.most_nats = std::max(out.most_nats, nats);
      out.same_top_share += top_of(a) == top_of(b) ? 1 : 0;
    }
    out.tokens += std::ssize(ids);
    ++out.texts;
  }
  if (out.tokens > 0) {
    out.mean_nats /= static_cast<double>(out.tokens);
    out.same_top_share /= static_cast<double>(out.tokens);
  }
  return out;
}

}  // namespace dure
