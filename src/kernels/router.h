// kernels/router.h: expert selection, dispatch and combination, and the sequence balance loss. All
// in f32.
//
// Symbols: T tokens, E experts, K experts a token, D width. p = sigmoid(logits); selection by p +
// bias (groups first, where there are several: a group's score is the sum of its two largest, the
// best groups compete); ties, of groups and of experts, go to the lowest id. Weights: p of the
// selected (without bias), divided by (sum + 1e-20) where `normalise`, times `scale`. The selected
// are listed in ascending id: that is also the order in which their outputs are summed.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor_view.h"

namespace dure {

struct RouterFacts {
  int64_t expert_count = 0, experts_per_token = 0;  // E, K
  int64_t group_count = 1, groups_kept = 1;
  bool normalise = true;
  double scale = 1;
};

// logits: [T, E]; bias: [E]. probabilities: [T, E] =; experts: [T*K] ascending within a token =;
// weights: [T, K] =.
void route(const RouterFacts& facts, TensorView logits, TensorView bias, TensorView probabilities,
           std::span<int32_t> experts, TensorView weights, Stream& stream);
// Through the weights only (selection and bias have no gradient). dweights: [T, K]; dlogits: [T, E]
// =.
void route_backward(const RouterFacts& facts, TensorView probabilities,
                    std::span<const int32_t> experts, TensorView dweights, TensorView dlogits,
                    Stream& stream);

// Sequence balance loss: mean over documents of coefficient * sum_e f_e P_e; f_e = E/(K T_d) * how
// often e was chosen in the document (the routing really used, bias included), P_e = mean over its
// tokens of p_e / sum p. Returns the loss; adds `gradient_scale` times its gradient to dlogits: [T,
// E] (empty view: the loss alone). document_lengths sum to T.
double sequence_balance(const RouterFacts& facts, TensorView probabilities,
                        std::span<const int32_t> experts, std::span<const int64_t> document_lengths,
                        double coefficient, double gradient_scale, TensorView dlogits,
                        Stream& stream);

// Tokens as grouped_linear wants them: the T*K (token, slot) pairs sorted by expert, tokens
// ascending inside an expert.
struct ExpertPlan {
  std::span<int64_t> offsets;      // [E+1]
  std::span<int32_t> row_token;    // [T*K] token of sorted row r
  std::span<int32_t> row_of_slot;  // [T*K] sorted row of (t, slot), slots in ascending expert id
};
void plan_experts(std::span<const int32_t> experts, int64_t expert_count, int64_t experts_per_token,
                  ExpertPlan plan);

// rows: [T*K, D] = x[row_token[r]].
void gather_rows(TensorView x, std::span<const int32_t> row_token, TensorView rows, Stream& stream);
// y: [T, D] = sum over slots ascending of weights[t, s] * rows[row_of_slot[t, s]] (product, then
// addition), then + shared where it is given.
void combine_experts(const ExpertPlan& plan, TensorView rows, TensorView weights, TensorView shared,
                     TensorView y, Stream& stream);
// drows: [T*K, D] = weight * dy[token]; dweights: [T, K] = dot(rows, dy) (16 lanes, fixed tree).
void combine_experts_backward(const ExpertPlan& plan, TensorView rows, TensorView weights,
                              TensorView dy, TensorView drows, TensorView dweights, Stream& stream);
// dx: [T, D] += sum over slots ascending of drows[row_of_slot[t, s]].
void gather_rows_backward(const ExpertPlan& plan, TensorView drows, TensorView dx, Stream& stream);

}  // namespace dure
