// kernels/attention.h: causal attention with grouped heads, windows and document boundaries; no T x
// T matrix is kept.
//
// Symbols: T rows of the batch, Q query heads, G key/value heads, H head width, W window (0:
// global). A segment is a run of rows of one sequence (a document of a packed batch, a prefill
// chunk, one decoded token). The row at position p sees keys j of its own sequence with max(0, p -
// W + 1) <= j <= p. Scale: 1 / sqrt(H).
//
// Order contract, the same for training, prefill and decoding, whatever else is in the batch, per
// (row, head). Keys fall into partitions of kPartitionTokens positions and these into blocks of
// KvView::kTokens, both anchored at absolute positions. A score is one fma chain over h ascending,
// then times the scale. Each partition that holds a visible key has an online softmax of its own,
// once a block, ascending: the new maximum m' of all so far; factor f = exp(m - m'); weights
// exp(score - m'); sum = fma(sum, f, s), s the weights added in 16 lanes (places l, l + 16, l + 32,
// l + 48 as (0 + 1) + (2 + 3)), then the 16-lane tree; output times f, then one fma chain over the
// visible keys ascending. Partitions are merged in a chain, ascending, from the first with a
// visible key on: a' what stands, b the next, m = max of both maxima, fa = exp(ma - m), fb = exp(mb
// - m); sum and output = fma(a, fa, b * fb). Where the head has a sink s (a score
// without a key or a value), it comes last, after all partitions: m' = max(m, s), f = exp(m - m'),
// output times f, sum = fma(sum, f, exp(s - m')). At the end times 1 / sum. Keys outside the
// visible range of a row contribute nothing to it, even as zeros times something. Stored values of
// 16 and 8 bits are widened first, exactly (kv_store.h). exp() is the kernels' own
// (cpu/lanes-inl.h): all results, gradients too, have the same bits on every instruction set.
//
// Why partitions: one decoding sequence has as many (key head, partition) pairs as it takes to keep
// every thread busy, and its bits do not tell how many threads there were. 512: at a depth of 8,192
// eight key heads make 128 pairs, two for each of 64 threads; a merge costs about 100 cycles a row
// and head, 1.2 % of the 8,192 fused products of sixteen lanes that a partition takes at H = 128.
#pragma once

#include <span>

#include "kernels/kv_view.h"

namespace dure {

constexpr int64_t kPartitionTokens = 512;  // Fixed by the contract; whole blocks.
static_assert(kPartitionTokens % KvView::kTokens == 0);

struct AttentionShape {
  int64_t head_count = 0;     // Q
  int64_t kv_head_count = 0;  // G, divides Q
  int64_t head_width = 0;     // H
  int64_t window_tokens = 0;  // W
};

struct AttentionSegment {
  int64_t first_row = 0;  // rows [first_row, first_row + row_count) of q
  int64_t row_count = 0;
  int64_t first_position = 0;  // position of the first row in its sequence
  KvView kv;                   // holds every position its rows may see, their own included
};

// sinks: [Q] f32, one a head, neither scaled nor masked; empty: none. out: [T, Q, H] =.
// log_sum_exp: [T, Q] = (natural log of the softmax sum of the scaled scores, the sink's included),
// or an empty view. Source of sinks: transformers, gpt_oss (eager_attention_forward).
void attention(const AttentionShape& shape, std::span<const AttentionSegment> segments,
               ConstTensorView q, ConstTensorView sinks, TensorView out, TensorView log_sum_exp,
               Stream& stream);

// What the forward read and left.
struct AttentionForward {
  ConstTensorView q, k, v;           // [T, Q, H], [T, G, H], [T, G, H]
  ConstTensorView out, log_sum_exp;  // [T, Q, H], [T, Q]
};

// Training: segments are whole documents (first_position 0) whose keys and values are the same rows
// of k and v: [T, G, H]. dq: [T, Q, H] =, one chain over keys ascending. dk, dv: [T, G, H] =, one
// chain over tiles of rows ascending, in a tile (the largest power of two of positions with at most
// 64 (position, head) pairs) head by head, rows ascending. Q / G <= 64. With sinks nothing changes
// here: their share of the sum stands in log_sum_exp.
void attention_backward(const AttentionShape& shape, std::span<const AttentionSegment> segments,
                        const AttentionForward& forward, ConstTensorView dout, TensorView dq,
                        TensorView dk, TensorView dv, Stream& stream);

// dsinks: [Q] += over all rows ascending, one subtraction each, of exp(sink - log_sum_exp) times
// dout . out (16 lanes, fixed tree): a sink takes weight from every value. k and v are not read.
void attention_sink_gradient(const AttentionShape& shape, ConstTensorView sinks,
                             const AttentionForward& forward, ConstTensorView dout,
                             TensorView dsinks, Stream& stream);

}  // namespace dure
