#include "kernels/cpu/router.h"

#include <algorithm>
#include <bit>

#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/router.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/lanes-inl.h"

#ifndef DURE_KERNELS_CPU_ROUTER_SELECT_
#define DURE_KERNELS_CPU_ROUTER_SELECT_
namespace dure::cpu {

// Selection is integer work on order-preserving keys, the same for every instruction set. NaN sorts below all numbers, so
// that there are always enough experts to choose; a diverged model fails later, with a message.
inline constexpr int32_t kTaken = INT32_MIN, kNotANumber = INT32_MIN + 1;

inline int32_t order_key(float x) {
  if (x != x) return kNotANumber;
  const auto bits = std::bit_cast<int32_t>(x + 0.0f);  // -0 becomes 0: they are equal, the lower id wins.
  return bits >= 0 ? bits : bits ^ INT32_MAX;  // Negative floats sort by magnitude descending.
}

// Ids of the `count` largest keys, ties to the lowest id, ascending.
inline void largest(const int32_t* keys, int64_t size, int64_t count, int32_t* ids) {
  int32_t best[kSlotsMax];  // Keys of ids[0 .. found), descending.
  int64_t found = 0;
  for (int64_t i = 0; i < size; ++i) {
    if (keys[i] == kTaken || (found == count && keys[i] <= best[found - 1])) continue;
    int64_t at = found < count ? found++ : count - 1;
    for (; at > 0 && best[at - 1] < keys[i]; --at) {
      best[at] = best[at - 1];
      ids[at] = ids[at - 1];
    }
    best[at] = keys[i];
    ids[at] = static_cast<int32_t>(i);
  }
  std::sort(ids, ids + found);
}

// The best groups compete: keys of the others become kTaken. A group's score is the sum of its two largest values.
inline void keep_best_groups(const RouterFacts& f, const float* z, int32_t* keys) {
  const int64_t size = f.expert_count / f.group_count;
  int32_t scores[kExpertsMax], kept[kSlotsMax];
  for (int64_t g = 0; g < f.group_count; ++g) {
    float first = -__builtin_inff(), second = -__builtin_inff();
    for (int64_t e = g * size; e < (g + 1) * size; ++e) {
      if (z[e] > first) second = first, first = z[e];
      else if (z[e] > second) second = z[e];
    }
    scores[g] = order_key(size > 1 ? first + second : first);
  }
  largest(scores, f.group_count, f.groups_kept, kept);
  for (int64_t g = 0, k = 0; g < f.group_count; ++g) {
    if (k < f.groups_kept && kept[k] == g) ++k;
    else std::fill_n(keys + g * size, size, kTaken);
  }
}

inline void select_experts(const RouterFacts& f, const float* z, int32_t* experts) {
  int32_t keys[kExpertsMax];
  for (int64_t e = 0; e < f.expert_count; ++e) keys[e] = order_key(z[e]);
  if (f.group_count > 1) keep_best_groups(f, z, keys);
  largest(keys, f.expert_count, f.experts_per_token, experts);
}

}  // namespace dure::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {

void route_range(const Routing& r, int64_t first, int64_t last) {
  const int64_t E = r.facts.expert_count, K = r.facts.experts_per_token;
  alignas(64) float z[kExpertsMax];
  for (int64_t t = first; t < last; ++t) {
    float* p = r.probabilities + t * E;
    for (int64_t e = 0; e < E; e += kLanes) {
      const F16 probability = sigmoid(load16_n(r.logits + t * E + e, E - e));
      store_n(probability, p + e, E - e);
      store(add(probability, load16_n(r.bias + e, E - e)), z + e);
    }
    int32_t* experts = r.experts + t * K;
    select_experts(r.facts, z, experts);
    float sum = 0;
    for (int64_t s = 0; s < K; ++s) sum += p[experts[s]];
    const float divisor = r.facts.normalise ? sum + 1e-20f : 1.0f, scale = static_cast<float>(r.facts.scale);
    for (int64_t s = 0; s < K; ++s) r.weights[t * K + s] = p[experts[s]] / divisor * scale;
  }
}

void route_gradient(const RoutingGradient& r, int64_t first, int64_t last) {
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
      const float x = p[experts[s]], dp = r.facts.normalise ? (dw[s] - weighted / sum) / sum : dw[s];
      r.dlogits[t * E + experts[s]] = scale * dp * x * (1 - x);
    }
  }
}

double balance(const BalanceDocument& d) {
  const int64_t E = d.facts.expert_count, K = d.facts.experts_per_token;
  alignas(64) float f[kExpertsMax] = {};
  for (int64_t i = 0; i < d.length * K; ++i) f[d.experts[i]] += 1;
  const float share = static_cast<float>(static_cast<double>(E) / static_cast<double>(K * d.length));
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
      const F16 gradient = mul(mul(sub(load16(f + e), middle), rate), mul(x, sub(one, x)));
      float* to = d.dlogits + t * E + e;
      store_n(add(load16_n(to, E - e), gradient), to, E - e);
    }
  }
  return loss / static_cast<double>(d.length);
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

void route_tokens(const Routing& r, int64_t first, int64_t last) { DURE_DISPATCH(route_range)(r, first, last); }
void route_backward_tokens(const RoutingGradient& r, int64_t first, int64_t last) { DURE_DISPATCH(route_gradient)(r, first, last); }
double balance_document(const BalanceDocument& d) { return DURE_DISPATCH(balance)(d); }
void sum_rows(const RowSum& s, int64_t columns) { DURE_DISPATCH(row_sum)(s, columns); }
float scale_and_dot(const float* row, const float* dy, float weight, int64_t columns, float* scaled) {
  return DURE_DISPATCH(scaled_dot)(row, dy, weight, columns, scaled);
}

}  // namespace dure::cpu
#endif
