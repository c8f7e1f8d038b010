// kernels/router.h: expert selection, dispatch and combination, and load balancing: the sequence
// balance loss, counts, the bias. All in f32 unless said.
//
// Symbols: T tokens, E experts, K experts a token, D width. p = sigmoid(logits), or softmax(logits)
// over all experts (largest logit taken off first; sum in 16 lanes, a lane's chain, the tree; one
// division each); selection by p + bias (by p where there is no bias; groups first, where there are
// several: a group's score is the sum of its two largest, the best groups compete); ties, of groups
// and of experts, go to the lowest id. Weights: p of the selected (without bias), divided by (sum +
// 1e-20) where `normalise`, times `scale`; a softmax over the selected alone is the softmax over
// all, normalised. The selected are listed in ascending id: that is also the order in which their
// outputs are summed.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

enum class RouterScoring : uint8_t { kSigmoid, kSoftmax };

struct RouterFacts {
  int64_t expert_count = 0, experts_per_token = 0;  // E, K
  int64_t group_count = 1, groups_kept = 1;
  bool normalise = true;
  double scale = 1;
  RouterScoring scoring = RouterScoring::kSigmoid;
};

// logits: [T, E]; bias: [E], or empty: none. probabilities: [T, E] =; experts: [T*K] i32 ascending
// within a token
// =; weights: [T, K] =.
void route(const RouterFacts& facts, ConstTensorView logits, ConstTensorView bias,
           TensorView probabilities, TensorView experts, TensorView weights, Stream& stream);
// Through the weights only (selection and bias have no gradient). dweights: [T, K]; dlogits: [T, E]
// =.
void route_backward(const RouterFacts& facts, ConstTensorView probabilities,
                    ConstTensorView experts, ConstTensorView dweights, TensorView dlogits,
                    Stream& stream);

// Sequence balance loss: mean over documents of coefficient * sum_e f_e P_e; f_e = E/(K T_d) * how
// often e was chosen in the document (the routing really used, bias included), P_e = mean over its
// tokens of p_e / sum p. Documents: document d owns rows [offsets[d], offsets[d+1]); offsets:
// [Dn+1] i64, none empty. loss: [1] f64 += scale * the loss; dlogits: [T, E] += scale times its
// gradient (empty view: the loss alone).
struct BalanceScales {
  double coefficient = 0;  // of the loss in the objective
  double scale = 1;        // of these documents in the step
};
void sequence_balance(const RouterFacts& facts, ConstTensorView probabilities,
                      ConstTensorView experts, ConstTensorView document_offsets,
                      const BalanceScales& scales, TensorView loss, TensorView dlogits,
                      Stream& stream);

// counts: [E] i64 += how often each expert was chosen; experts: i32.
void count_experts(ConstTensorView experts, TensorView counts, Stream& stream);
// Load balancing without a loss: bias: [E] f32 += rate * sign(mean - count), exactly at the mean
// nothing. counts: [E] i64, of the whole global batch. Source: DeepSeek-V3 2412.19437, 2.1.2.
void move_router_bias(ConstTensorView counts, double rate, TensorView bias, Stream& stream);

// Tokens as grouped_linear wants them: the T*K (token, slot) pairs sorted by expert, tokens
// ascending inside an expert.
struct ExpertDispatch {
  TensorView offsets;      // [E+1] i64: expert e owns rows [offsets[e], offsets[e+1])
  TensorView row_token;    // [T*K] i32: token of sorted row r
  TensorView row_of_slot;  // [T*K] i32: sorted row of (t, slot), slots in ascending expert id
};
// Fills `dispatch` from experts: [T*K] i32.
void dispatch_experts(ConstTensorView experts, const RouterFacts& facts,
                      const ExpertDispatch& dispatch, Stream& stream);

// Of the sorted rows those of tokens [first, first + count): rows: [count*K] i32, ascending, and
// where each expert's begin among them: offsets: [E+1] i64.
void select_tokens(const ExpertDispatch& dispatch, int64_t first, int64_t count, TensorView offsets,
                   TensorView rows, Stream& stream);

// y: [T, D] = sum over slots ascending of weights[t, s] * rows[row_of_slot[t, s]] (product, then
// addition), then + shared where it is given.
void combine_experts(const ExpertDispatch& dispatch, ConstTensorView rows, ConstTensorView weights,
                     ConstTensorView shared, TensorView y, Stream& stream);
// drows: [T*K, D] = weight * dy[token]; dweights: [T, K] = dot(rows, dy) (16 lanes, fixed tree).
void combine_experts_backward(const ExpertDispatch& dispatch, ConstTensorView rows,
                              ConstTensorView weights, ConstTensorView dy, TensorView drows,
                              TensorView dweights, Stream& stream);
// The backward of gather_rows(x, row_token, rows). dx: [T, D] += sum over slots ascending of
// drows[row_of_slot[t, s]].
void gather_experts_backward(const ExpertDispatch& dispatch, ConstTensorView drows, TensorView dx,
                             Stream& stream);

}  // namespace dure
