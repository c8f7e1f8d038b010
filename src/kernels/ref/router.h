// kernels/ref/router.h: expert selection, its gradients, the balance loss, and the sum over
// experts, in double.
//
// Source: reference facts of exaone_moe, MoE FFN 2-7 and training facts (balance loss).
// Definitions: kernels/router.h.
#pragma once

#include "kernels/ref/doubles.h"
#include "kernels/router.h"

namespace dure::ref {

struct Routing {
  Doubles probabilities;         // [T, E]
  std::vector<int32_t> experts;  // [T, K] ascending
  Doubles weights;               // [T, K]
};
Routing route(const RouterFacts& facts, DoubleSpan logits, DoubleSpan bias);  // bias may be empty
Doubles route_weights(const RouterFacts& facts, DoubleSpan logits,
                      std::span<const int32_t> experts);  // Selection given.
Doubles route_backward(const RouterFacts& facts, DoubleSpan probabilities,
                       std::span<const int32_t> experts, DoubleSpan dweights);

struct Balance {
  double loss = 0;
  Doubles dlogits;  // [T, E]
};
Balance sequence_balance(const RouterFacts& facts, DoubleSpan logits,
                         std::span<const int32_t> experts,
                         std::span<const int64_t> document_lengths, double coefficient);

// slot_rows: [T, K, D], the expert outputs in slot order; shared: [T, D] or empty. Returns y: [T,
// D].
Doubles combine(DoubleSpan slot_rows, DoubleSpan weights, DoubleSpan shared, int64_t tokens,
                int64_t slots);

}  // namespace dure::ref
