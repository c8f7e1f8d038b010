// kernels/cpu/router_simd.h: ranges of tokens of the router, the unit that a worker runs.
// Contracts: kernels/router.h.
#pragma once

#include "kernels/cpu/router.h"

namespace dure::cpu {

struct Routing {
  RouterFacts facts;
  const float* logits = nullptr;  // [T, E]
  const float* bias = nullptr;    // [E], or null
  float* probabilities = nullptr;
  int32_t* experts = nullptr;  // [T, K]
  float* weights = nullptr;    // [T, K]
};
void route_tokens(const Routing& r, int64_t first, int64_t last);

struct RoutingGradient {
  RouterFacts facts;
  const float* probabilities = nullptr;
  const int32_t* experts = nullptr;
  const float* dweights = nullptr;
  float* dlogits = nullptr;
};
void route_backward_tokens(const RoutingGradient& r, int64_t first, int64_t last);

// One document of the balance loss. Returns sum_e f_e P_e; dlogits (or null) += rate times its
// gradient.
struct BalanceDocument {
  RouterFacts facts;
  int64_t length = 0;
  const float* probabilities = nullptr;  // [length, E]
  const int32_t* experts = nullptr;      // [length, K]
  float rate = 0;
  float* dlogits = nullptr;
};
double balance_document(const BalanceDocument& d);

// y[c] = sum over n rows ascending of weight * row (product, then addition); without weights: the
// plain sum. Then + y's former value, or + shared, where asked.
struct RowSum {
  const float* const* rows = nullptr;
  const float* weights = nullptr;  // [n] or null
  int64_t count = 0;
  const float* shared = nullptr;  // [columns] or null
  bool add = false;
  float* y = nullptr;
};
void sum_rows(const RowSum& s, int64_t columns);
// scaled = weight * dy; returns dot(row, dy).
float scale_and_dot(const float* row, const float* dy, float weight, int64_t columns,
                    float* scaled);

}  // namespace dure::cpu
