// Selection by stable sorting, ties to the lowest id; losses and gradients as kernels/router.h
// writes them.
#include "kernels/ref/router.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dure::ref {
namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// [E] of one token.
Doubles probabilities(const RouterFacts& f, DoubleSpan logits) {
  Doubles p(logits.begin(), logits.end());
  if (f.scoring == RouterScoring::kSigmoid) {
    for (double& value : p) value = sigmoid(value);
    return p;
  }
  const double largest = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& value : p) sum += value = std::exp(value - largest);
  for (double& value : p) value /= sum;
  return p;
}

// The `count` best of `candidates` by score, ties to the lowest id, returned ascending.
std::vector<int32_t> best(std::vector<int32_t> candidates, const Doubles& score, int64_t count) {
  std::stable_sort(candidates.begin(), candidates.end(), [&](int32_t a, int32_t b) {
    return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)];
  });
  candidates.resize(static_cast<size_t>(count));
  std::sort(candidates.begin(), candidates.end());
  return candidates;
}

std::vector<int32_t> all_ids(int64_t count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

std::vector<int32_t> candidates(const RouterFacts& f, const Doubles& z) {
  if (f.group_count <= 1) return all_ids(f.expert_count);
  const int64_t size = f.expert_count / f.group_count;
  Doubles score;
  for (int64_t g = 0; g < f.group_count; ++g) {
    Doubles group(z.begin() + g * size, z.begin() + (g + 1) * size);
    std::sort(group.rbegin(), group.rend());
    score.push_back(size > 1 ? group[0] + group[1] : group[0]);
  }
  std::vector<int32_t> ids;
  for (const int32_t g : best(all_ids(f.group_count), score, f.groups_kept)) {
    for (int64_t e = g * size; e < (g + 1) * size; ++e) ids.push_back(static_cast<int32_t>(e));
  }
  return ids;
}

}  // namespace

Doubles route_weights(const RouterFacts& f, DoubleSpan logits, std::span<const int32_t> experts) {
  Doubles weights(experts.size());
  for (size_t i = 0; i < experts.size(); i += static_cast<size_t>(f.experts_per_token)) {
    const size_t width = static_cast<size_t>(f.expert_count),
                 token = i / static_cast<size_t>(f.experts_per_token);
    const Doubles p = probabilities(f, logits.subspan(token * width, width));
    double sum = 0;
    for (size_t s = i; s < i + static_cast<size_t>(f.experts_per_token); ++s)
      sum += weights[s] = p[static_cast<size_t>(experts[s])];
    for (size_t s = i; s < i + static_cast<size_t>(f.experts_per_token); ++s)
      weights[s] *= f.scale / (f.normalise ? sum + 1e-20 : 1);
  }
  return weights;
}

Routing route(const RouterFacts& f, DoubleSpan logits, DoubleSpan bias) {
  Routing r;
  const size_t width = static_cast<size_t>(f.expert_count);
  for (size_t t = 0; t < logits.size(); t += width) {
    const Doubles p = probabilities(f, logits.subspan(t, width));
    r.probabilities.insert(r.probabilities.end(), p.begin(), p.end());
    Doubles z = p;
    for (size_t e = 0; e < width && !bias.empty(); ++e) z[e] += bias[e];
    for (const int32_t e : best(candidates(f, z), z, f.experts_per_token)) r.experts.push_back(e);
  }
  r.weights = route_weights(f, logits, r.experts);
  return r;
}

// w_i = scale p_i / S with S = sum_j p_j + 1e-20; dp_i = scale (dw_i - sum_j dw_j p_j / S) / S;
// dlogit = dp p (1 - p), or through a softmax over all: dlogit_j = p_j (dp_j - sum_k p_k dp_k).
Doubles route_backward(const RouterFacts& f, DoubleSpan probabilities,
                       std::span<const int32_t> experts, DoubleSpan dweights) {
  Doubles dlogits(probabilities.size());
  const size_t slots = static_cast<size_t>(f.experts_per_token);
  for (size_t i = 0; i < experts.size(); i += slots) {
    const size_t base = i / slots * static_cast<size_t>(f.expert_count);
    double sum = 1e-20, weighted = 0;
    for (size_t s = i; s < i + slots; ++s) {
      const double p = probabilities[base + static_cast<size_t>(experts[s])];
      sum += p;
      weighted += dweights[s] * p;
    }
    Doubles dp(static_cast<size_t>(f.expert_count));
    double mean = 0;
    for (size_t s = i; s < i + slots; ++s) {
      const auto e = static_cast<size_t>(experts[s]);
      dp[e] = f.scale * (f.normalise ? (dweights[s] - weighted / sum) / sum : dweights[s]);
      mean += dp[e] * probabilities[base + e];
    }
    for (size_t e = 0; e < dp.size(); ++e) {
      const double p = probabilities[base + e];
      dlogits[base + e] =
          f.scoring == RouterScoring::kSigmoid ? dp[e] * p * (1 - p) : p * (dp[e] - mean);
    }
  }
  return dlogits;
}

Balance sequence_balance(const RouterFacts& facts, DoubleSpan logits,
                         std::span<const int32_t> experts,
                         std::span<const int64_t> document_lengths, double coefficient) {
  const size_t width = static_cast<size_t>(facts.expert_count),
               slots = static_cast<size_t>(facts.experts_per_token);
  Balance result{0, Doubles(logits.size())};
  size_t first = 0;
  for (const int64_t length : document_lengths) {
    const size_t last = first + static_cast<size_t>(length);
    const double share = coefficient / static_cast<double>(document_lengths.size());
    Doubles f(width);
    for (size_t i = first * slots; i < last * slots; ++i) {
      f[static_cast<size_t>(experts[i])] +=
          static_cast<double>(width) / static_cast<double>(slots * static_cast<size_t>(length));
    }
    for (size_t t = first; t < last; ++t) {
      const Doubles p = probabilities(facts, logits.subspan(t * width, width));
      const double sum = std::accumulate(p.begin(), p.end(), 0.0);
      double weighted = 0;
      for (size_t e = 0; e < width; ++e) weighted += f[e] * p[e] / sum;
      result.loss += share * weighted / static_cast<double>(length);
      for (size_t e = 0; e < width; ++e) {
        const double slope = facts.scoring == RouterScoring::kSigmoid ? p[e] * (1 - p[e]) : p[e];
        result.dlogits[t * width + e] =
            share / static_cast<double>(length) * (f[e] - weighted) / sum * slope;
      }
    }
    first = last;
  }
  return result;
}

Doubles combine(DoubleSpan slot_rows, DoubleSpan weights, DoubleSpan shared, int64_t tokens,
                int64_t slots) {
  const size_t width = slot_rows.size() / static_cast<size_t>(tokens * slots);
  Doubles y(static_cast<size_t>(tokens) * width);
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t t = i / width, c = i % width;
    for (size_t s = t * static_cast<size_t>(slots); s < (t + 1) * static_cast<size_t>(slots); ++s)
      y[i] += weights[s] * slot_rows[s * width + c];
    if (!shared.empty()) y[i] += shared[i];
  }
  return y;
}

}  // namespace dure::ref
