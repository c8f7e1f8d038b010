// Candidates in one vector, sorted no further than a cut needs; ties go to the lower id everywhere.
// Penalties walk the tokens seen, each once.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/error.h"

namespace dure {
namespace {

bool is_allowed(std::span<const uint64_t> allowed, size_t token) {
  return allowed.empty() || (allowed[token / 64] >> (token % 64) & 1) != 0;
}

// Larger probability first, then the lower id: a total order, so every selection below is
// deterministic.
bool before(const TokenProbability& a, const TokenProbability& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.token < b.token;
}

void refuse(const char* name, double value, const char* range) {
  fail(ErrorCode::kInvalidArgument, "{} is {:.15g}: it must be {}", name, value, range);
}

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kMinusInfinity = -kInfinity;
constexpr double kFloatMax = std::numeric_limits<float>::max();

// -infinity is a token that cannot be; nothing else may be missing.
bool is_finite(std::span<const float> logits) {
  bool finite = true;
  for (const float logit : logits) finite &= logit < kInfinity;  // false for NaN too
  return finite;
}

void require_finite(std::span<const float> logits) {
  if (is_finite(logits)) return;
  fail(ErrorCode::kDiverged,
       "the model's logits are not finite: its weights are damaged, or its training diverged");
}

int32_t best_token(std::span<const float> logits, std::span<const uint64_t> allowed) {
  int32_t best = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (is_allowed(allowed, i) && (best < 0 || logits[i] > logits[static_cast<size_t>(best)]))
      best = static_cast<int32_t>(i);
  }
  if (best < 0)
    fail(ErrorCode::kInvalidArgument, "the token mask allows no token of {}", logits.size());
  return best;
}

}  // namespace

void check_sampling(const SamplingOptions& o, int64_t vocab_size) {
  if (!(o.temperature >= 0 && o.temperature <= 100))
    refuse("temperature", o.temperature, "from 0 to 100");
  if (!(o.top_p > 0 && o.top_p <= 1)) refuse("top_p", o.top_p, "above 0 and at most 1");
  if (o.top_k < 0) refuse("top_k", static_cast<double>(o.top_k), "0 (off) or more");
  if (!(o.min_p >= 0 && o.min_p <= 1)) refuse("min_p", o.min_p, "from 0 to 1");
  if (!(o.repetition_penalty > 0)) refuse("repetition_penalty", o.repetition_penalty, "above 0");
  if (!std::isfinite(o.presence_penalty)) refuse("presence_penalty", o.presence_penalty, "finite");
  if (!std::isfinite(o.frequency_penalty))
    refuse("frequency_penalty", o.frequency_penalty, "finite");
  for (const auto& [token, bias] : o.logit_bias) {
    if (token < 0 || token >= vocab_size)
      refuse("logit_bias token", token, "a token of the vocabulary");
    if (!(bias == kMinusInfinity || std::abs(bias) <= kFloatMax)) {
      fail(ErrorCode::kInvalidArgument,
           "logit_bias of token {} is {:.15g}: it must be a number of at most 3.4e38", token, bias);
    }
  }
}

int32_t greedy_token(std::span<const float> logits, std::span<const uint64_t> allowed) {
  require_finite(logits);
  return best_token(logits, allowed);
}

std::span<const float> Sampler::adjusted(const SamplingOptions& o, std::span<const float> logits,
                                         const SamplingContext& context) {
  const bool penalised = o.penalises() && context.seen != nullptr;
  if (!penalised && o.logit_bias.empty() && context.allowed.empty() && context.forbidden.empty())
    return logits;
  logits_.assign(logits.begin(), logits.end());
  for (const auto& [token, bias] : o.logit_bias)
    logits_[static_cast<size_t>(token)] += static_cast<float>(bias);
  if (!context.allowed.empty()) {
    for (size_t i = 0; i < logits_.size(); ++i) {
      if (!is_allowed(context.allowed, i)) logits_[i] = kMinusInfinity;
    }
  }
  if (penalised) penalise(o, *context.seen);
  for (const int32_t token : context.forbidden) {
    if (token >= 0 && static_cast<size_t>(token) < logits_.size())
      logits_[static_cast<size_t>(token)] = kMinusInfinity;
  }
  if (!is_finite(logits_)) {
    fail(ErrorCode::kInvalidArgument,
         "logit_bias and penalties together make a token's logit infinite: give smaller ones");
  }
  return logits_;
}

void Sampler::penalise(const SamplingOptions& o, const TokenCounts& seen) {
  for (const TokenCounts::Entry& entry : seen.entries()) {
    if (!entry.is_seen()) continue;
    const int64_t count = entry.generated;
    if (count == 0 && o.repetition_penalty == 1) continue;
    double x = logits_[static_cast<size_t>(entry.token)];
    x = x > 0 ? x / o.repetition_penalty : x * o.repetition_penalty;
    if (count > 0) x -= static_cast<double>(count) * o.frequency_penalty + o.presence_penalty;
    logits_[static_cast<size_t>(entry.token)] = static_cast<float>(x);
  }
}

// Leaves the `count` best, sorted.
void Sampler::keep_largest(int64_t count) {
  const size_t keep = std::min(static_cast<size_t>(count), candidates_.size());
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<int64_t>(keep),
                    candidates_.end(), before);
  candidates_.resize(keep);
}

// Sorts only as far as needed: in steps that grow eightfold, since p is usually reached early.
void Sampler::keep_top_p(double p) {
  double total = 0;
  for (const TokenProbability& c : candidates_) total += c.probability;
  double sum = 0;
  size_t sorted = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (i == sorted) {
      const size_t end = std::min(candidates_.size(), std::max<size_t>(256, sorted * 8));
      std::partial_sort(candidates_.begin() + static_cast<int64_t>(sorted),
                        candidates_.begin() + static_cast<int64_t>(end), candidates_.end(), before);
      sorted = end;
    }
    sum += candidates_[i].probability;
    if (sum >= p * total) return candidates_.resize(i + 1);
  }
}

std::span<const TokenProbability> Sampler::distribution(const SamplingOptions& o,
                                                        std::span<const float> raw,
                                                        const SamplingContext& context) {
  require_finite(raw);
  const std::span<const float> logits = adjusted(o, raw, context);
  const int32_t best = best_token(logits, context.allowed);
  candidates_.clear();
  const double top = logits[static_cast<size_t>(best)];
  if (o.temperature == 0 || top == kMinusInfinity) {
    candidates_.push_back({best, 1.0});
    return candidates_;
  }
  for (size_t i = 0; i < logits.size();
       ++i) {  // Relative to the largest, whose value here is exactly 1.
    const double relative = std::exp((static_cast<double>(logits[i]) - top) / o.temperature);
    if (relative > 0 && relative >= o.min_p)
      candidates_.push_back({static_cast<int32_t>(i), relative});
  }
  if (o.top_k > 0) keep_largest(o.top_k);
  if (o.top_p < 1) keep_top_p(o.top_p);
  double total = 0;
  for (const TokenProbability& c : candidates_) total += c.probability;
  for (TokenProbability& c : candidates_) c.probability /= total;
  return candidates_;
}

// A short sorted list of logits; most tokens are below its last.
void add_likeliest(std::span<const float> logits, float log_sum_exp, int64_t count,
                   std::vector<TokenLogProbability>& out) {
  DURE_CHECK(count >= 0 && count <= std::ssize(logits), "{} of {} tokens", count, logits.size());
  if (count == 0) return;
  const size_t first = out.size(), kept = static_cast<size_t>(count);
  for (size_t i = 0; i < logits.size(); ++i) {
    if (out.size() - first == kept && !(logits[i] > out.back().log_probability)) continue;
    if (out.size() - first == kept) out.pop_back();
    size_t place = out.size();
    while (place > first && logits[i] > out[place - 1].log_probability) --place;
    out.insert(out.begin() + static_cast<std::ptrdiff_t>(place),
               {static_cast<int32_t>(i), logits[i]});
  }
  for (size_t i = first; i < out.size(); ++i) out[i].log_probability -= log_sum_exp;
}

int32_t draw_token(std::span<const TokenProbability> distribution, double uniform) {
  double sum = 0;
  for (const TokenProbability& t : distribution) {
    sum += t.probability;
    if (uniform < sum) return t.token;
  }
  return distribution.back().token;  // The sum may end a rounding short of 1.
}

int32_t Sampler::sample(const SamplingOptions& options, std::span<const float> logits,
                        const SamplingContext& context, double uniform) {
  return draw_token(distribution(options, logits, context), uniform);
}

}  // namespace dure
