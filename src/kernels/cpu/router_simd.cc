// Selection takes the largest again and again, a few out of some hundreds: nothing is sorted. Then
// gradients, one document's balance loss, sums of expert rows. One source, compiled for each
// instruction set (kernels/isa.h).
#include "kernels/cpu/router_simd.h"

#include <algorithm>
#include <bit>

#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/router_simd.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {
namespace {

constexpr float kUnavailable = -__builtin_inff(), kLowest = -__FLT_MAX__;

// Ids of the `count` largest of z[0, size), ties to the lowest id, ascending. Takes them out: z
// becomes kUnavailable there. z is padded to whole vectors with kUnavailable; at least `count`
// entries are not.
HWY_ATTR void take_largest(float* z, int64_t size, int64_t count, int32_t* ids) {
  uint64_t taken[kExpertsMax / 64] = {};
  for (int64_t k = 0; k < count; ++k) {
    F16 top = load16(z);
    for (int64_t i = kLanes; i < size; i += kLanes) top = max(top, load16(z + i));
    const float best = max16(top);
    int64_t i = 0, lane = first_equal(load16(z), best);
    while (lane < 0) lane = first_equal(load16(z + (i += kLanes)), best);
    z[i + lane] = kUnavailable;
    taken[(i + lane) / 64] |= uint64_t{1} << ((i + lane) % 64);
  }
  for (int64_t word = 0; word * 64 < size; ++word) {
    for (uint64_t bits = taken[word]; bits != 0; bits &= bits - 1)
      *ids++ = static_cast<int32_t>(word * 64 + std::countr_zero(bits));
  }
}

// The best groups compete: the experts of others become unavailable. A group's score is the sum of
// its two largest values.
HWY_ATTR void keep_best_groups(const RouterFacts& f, float* z) {
  const int64_t size = f.expert_count / f.group_count;
  float scores[kExpertsMax];
  int32_t kept[kSlotsMax];
  std::fill_n(scores, (f.group_count + kLanes - 1) / kLanes * kLanes, kUnavailable);
  for (int64_t g = 0; g < f.group_count; ++g) {
    float first = kUnavailable, second = kUnavailable;
    for (int64_t e = g * size; e < (g + 1) * size; ++e) {
      second = std::max(second, std::min(first, z[e]));
      first = std::max(first, z[e]);
    }
    scores[g] = std::max(kLowest, size > 1 ? first + second : first);
  }
  take_largest(scores, f.group_count, f.groups_kept, kept);
  for (int64_t g = 0, k = 0; g < f.group_count; ++g) {
    if (k < f.groups_kept && kept[k] == g)
      ++k;
    else
      std::fill_n(z + g * size, size, kUnavailable);
  }
}

DURE_LANE_OP void sigmoid_row(const float* logits, int64_t experts, float* p) {
  for (int64_t e = 0; e < experts; e += kLanes)
    store_n(sigmoid(load16_n(logits + e, experts - e)), p + e, experts - e);
}

HWY_ATTR void softmax_row(const float* logits, int64_t experts, float* p) {
  const F16 unavailable = set16(kUnavailable);
  F16 top = unavailable, sum = set16(0.0f);
  for (int64_t e = 0; e < experts; e += kLanes)
    top = max(top, keep_first(load16_n(logits + e, experts - e), experts - e, unavailable));
  const F16 largest = set16(max16(top));
  for (int64_t e = 0; e < experts; e += kLanes) {
    const int64_t n = experts - e;
    const F16 x =
        keep_first(exp_of_nonpositive(sub(load16_n(logits + e, n), largest)), n, set16(0.0f));
    sum = add(sum, x);
    store_n(x, p + e, n);
  }
  const F16 total = set16(sum16(sum));
  for (int64_t e = 0; e < experts; e += kLanes)
    store_n(div(load16_n(p + e, experts - e), total), p + e, experts - e);
}

// p + bias, not below the lowest number: NaN too, so that there are always enough experts to
// choose; a diverged model fails later, with a message.
template <bool kBiased>
DURE_LANE_OP void selection_scores(const float* p, const float* bias, int64_t experts, float* z) {
  const F16 lowest = set16(kLowest), unavailable = set16(kUnavailable);
  for (int64_t e = 0; e < experts; e += kLanes) {
    F16 score = load16_n(p + e, experts - e);
    if constexpr (kBiased) score = add(score, load16_n(bias + e, experts - e));
    store(keep_first(select(less(lowest, score), score, lowest), experts - e, unavailable), z + e);
  }
}

template <bool kSoftmax, bool kBiased>
HWY_ATTR void route_as(const Routing& r, int64_t first, int64_t last) {
  const int64_t E = r.facts.expert_count, K = r.facts.experts_per_token;
  alignas(64) float z[kExpertsMax];
  for (int64_t t = first; t < last; ++t) {
    float* p = r.probabilities + t * E;
    kSoftmax ? softmax_row(r.logits + t * E, E, p) : sigmoid_row(r.logits + t * E, E, p);
    selection_scores<kBiased>(p, r.bias, E, z);
    if (r.facts.group_count > 1) keep_best_groups(r.facts, z);
    int32_t* experts = r.experts + t * K;
    take_largest(z, E, K, experts);
    float sum = 0;
    for (int64_t s = 0; s < K; ++s) sum += p[experts[s]];
    const float divisor = r.facts.normalise ? sum + 1e-20f : 1.0f,
                scale = static_cast<float>(r.facts.scale);
    for (int64_t s = 0; s < K; ++s) r.weights[t * K + s] = p[experts[s]] / divisor * scale;
  }
}

}  // namespace

// What the router is, is chosen once for all tokens.
void route_range(const Routing& r, int64_t first, int64_t last) {
  const bool softmax = r.facts.scoring == RouterScoring::kSoftmax, biased = r.bias != nullptr;
  if (softmax)
    return biased ? route_as<true, true>(r, first, last) : route_as<true, false>(r, first, last);
  biased ? route_as<false, true>(r, first, last) : route_as<false, false>(r, first, last);
}

namespace {

// Of independent sigmoids: dlogit = dp p (1 - p) of the chosen alone.
HWY_ATTR void sigmoid_gradient(const RoutingGradient& r, int64_t first, int64_t last) {
  const int64_t E = r.facts.expert_count, K = r.facts.experts_per_token;
  const float scale = static_cast<float>(r.facts.scale);
  for (int64_t t = first; t < last; ++t) {
    const float* p = r.probabilities + t * E;
    const int32_t* experts = r.experts + t * K;
    const float* dw = r.dweights + t * K;
    std::fill_n(r.dlogits + t * E, E, 0.0f);
    float sum = 1e-20f, weighted = 0;
    for (int64_t s = 0; s < K; ++s) {
      sum += p[experts[s]];
      weighted = std::fma(dw[s], p[experts[s]], weighted);
    }
    for (int64_t s = 0; s < K; ++s) {
      const float x = p[experts[s]],
                  dp = r.facts.normalise ? (dw[s] - weighted / sum) / sum : dw[s];
      r.dlogits[t * E + experts[s]] = scale * dp * x * (1 - x);
    }
  }
}

// Of a softmax the logits of all share: dlogit_j = scale p_j (dw_j - sum p dw), the chosen's dw,
// 0 elsewhere; normalised weights are a softmax over the chosen alone.
HWY_ATTR void softmax_gradient(const RoutingGradient& r, int64_t first, int64_t last) {
  const int64_t E = r.facts.expert_count, K = r.facts.experts_per_token;
  const float scale = static_cast<float>(r.facts.scale);
  for (int64_t t = first; t < last; ++t) {
    const float* p = r.probabilities + t * E;
    const int32_t* experts = r.experts + t * K;
    const float* dw = r.dweights + t * K;
    float* dlogits = r.dlogits + t * E;
    float sum = 1e-20f, weighted = 0;
    for (int64_t s = 0; s < K; ++s) {
      sum += p[experts[s]];
      weighted = std::fma(dw[s], p[experts[s]], weighted);
    }
    if (r.facts.normalise) {
      weighted = weighted / sum;
      std::fill_n(dlogits, E, 0.0f);
    } else {
      sum = 1;
      for (int64_t e = 0; e < E; ++e) dlogits[e] = scale * p[e] * -weighted;
    }
    for (int64_t s = 0; s < K; ++s)
      dlogits[experts[s]] = scale * (p[experts[s]] / sum) * (dw[s] - weighted);
  }
}

// d(p_e / sum p) / dlogit_e but for the mean: p (1 - p) of a sigmoid, p of a softmax.
template <bool kSoftmax>
HWY_ATTR double balance_of(const BalanceDocument& d) {
  const int64_t E = d.facts.expert_count, K = d.facts.experts_per_token;
  alignas(64) float f[kExpertsMax] = {};
  for (int64_t i = 0; i < d.length * K; ++i) f[d.experts[i]] += 1;
  const float share =
      static_cast<float>(static_cast<double>(E) / static_cast<double>(K * d.length));
  for (int64_t e = 0; e < E; ++e) f[e] *= share;
  double loss = 0;
  const F16 one = set16(1.0f);
  for (int64_t t = 0; t < d.length; ++t) {
    const float* p = d.probabilities + t * E;
    F16 sum = set16(0.0f), weighted = set16(0.0f);
    for (int64_t e = 0; e < E; e += kLanes) {
      const F16 x = load16_n(p + e, E - e);
      sum = add(sum, x);
      weighted = fma(x, load16(f + e), weighted);
    }
    const float total = sum16(sum), mean = sum16(weighted) / total;
    loss += static_cast<double>(mean);
    if (d.dlogits == nullptr) continue;
    const F16 rate = set16(d.rate / static_cast<float>(d.length) / total), middle = set16(mean);
    for (int64_t e = 0; e < E; e += kLanes) {  // d/dlogit = (f_e - sum f p / S) / S p (1 - p)
      const F16 x = load16_n(p + e, E - e);
      const F16 gradient =
          mul(mul(sub(load16(f + e), middle), rate), kSoftmax ? x : mul(x, sub(one, x)));
      float* to = d.dlogits + t * E + e;
      store_n(add(load16_n(to, E - e), gradient), to, E - e);
    }
  }
  return loss / static_cast<double>(d.length);
}

}  // namespace

void route_gradient(const RoutingGradient& r, int64_t first, int64_t last) {
  r.facts.scoring == RouterScoring::kSigmoid ? sigmoid_gradient(r, first, last)
                                             : softmax_gradient(r, first, last);
}

double balance(const BalanceDocument& d) {
  return d.facts.scoring == RouterScoring::kSigmoid ? balance_of<false>(d) : balance_of<true>(d);
}

void row_sum(const RowSum& s, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const int64_t n = columns - c;
    F16 sum = load16_n(s.rows[0] + c, n);
    if (s.weights != nullptr) sum = mul(set16(s.weights[0]), sum);
    for (int64_t i = 1; i < s.count; ++i) {
      const F16 row = load16_n(s.rows[i] + c, n);
      sum = add(sum, s.weights != nullptr ? mul(set16(s.weights[i]), row) : row);
    }
    if (s.shared != nullptr) sum = add(sum, load16_n(s.shared + c, n));
    if (s.add) sum = add(load16_n(s.y + c, n), sum);
    store_n(sum, s.y + c, n);
  }
}

float scaled_dot(const float* row, const float* dy, float weight, int64_t columns, float* scaled) {
  F16 sum = set16(0.0f);
  for (int64_t c = 0; c < columns; c += kLanes) {
    const F16 upstream = load16_n(dy + c, columns - c);
    sum = fma(load16_n(row + c, columns - c), upstream, sum);
    store_n(mul(set16(weight), upstream), scaled + c, columns - c);
  }
  return sum16(sum);
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(route_range);
HWY_EXPORT(route_gradient);
HWY_EXPORT(balance);
HWY_EXPORT(row_sum);
HWY_EXPORT(scaled_dot);

void route_tokens(const Routing& r, int64_t first, int64_t last) {
  DURE_DISPATCH(route_range)(r, first, last);
}
void route_backward_tokens(const RoutingGradient& r, int64_t first, int64_t last) {
  DURE_DISPATCH(route_gradient)(r, first, last);
}
double balance_document(const BalanceDocument& d) { return DURE_DISPATCH(balance)(d); }
void sum_rows(const RowSum& s, int64_t columns) { DURE_DISPATCH(row_sum)(s, columns); }
float scale_and_dot(const float* row, const float* dy, float weight, int64_t columns,
                    float* scaled) {
  return DURE_DISPATCH(scaled_dot)(row, dy, weight, columns, scaled);
}

}  // namespace dure::cpu
#endif
