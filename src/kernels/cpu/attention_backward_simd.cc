// Backward of attention for one document and key head. Weights are made again from the row's
// log_sum_exp: P = exp(scale q k - lse), dP = dout v, D = dout . out, dS = scale P (dP - D); then
// dq += dS k, dk += dS^T q, dv += P^T dout. Key blocks ascending outside, tiles of rows ascending
// inside, head by head in a tile.
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward_simd.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/attention_simd.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kTileRows = 64;  // (position, head) rows of a tile: P and dS fill 32 KiB.

struct BlockMemory {
  float* keys;    // [H, 64] transposed
  float* values;  // [H, 64] transposed
  float* p;       // [64, 64]
  float* ds;      // [64, 64]
  const float* q[kTileRows];
  const float* dout[kTileRows];
};

DURE_LANE_OP float dot(const float* a, const float* b, int64_t n) {
  F16 sum = set16(0.0f);
  for (int64_t c = 0; c < n; c += kLanes)
    sum = fma(load16_n(a + c, n - c), load16_n(b + c, n - c), sum);
  return sum16(sum);
}

// Row `r` of the tile: scores become P, dP become dS; 0 where the row sees nothing.
HWY_ATTR void row_weights(float* p, float* ds, Visible any, Visible keys, float scale,
                          float log_sum_exp, float mean) {
  const F16 zero = set16(0.0f);
  for (int64_t v = any.begin / kLanes; v < (any.end + kLanes - 1) / kLanes; ++v) {
    const F16 weight = keep_visible(
        exp_of_nonpositive(sub(mul(load16(p + v * kLanes), set16(scale)), set16(log_sum_exp))),
        keys, v, zero);
    store(weight, p + v * kLanes);
    const F16 gradient = mul(mul(weight, set16(scale)), sub(load16(ds + v * kLanes), set16(mean)));
    store(keep_visible(gradient, keys, v, zero), ds + v * kLanes);
  }
}

template <int kRows>
HWY_ATTR void raw_products(const BlockMemory& m, int64_t row, int64_t width, Visible any) {
  const int64_t first = any.begin / kLanes, last = (any.end + kLanes - 1) / kLanes;
  scores<kRows>(m.q + row, width, m.keys, first, last, m.p + row * kBlock);
  scores<kRows>(m.dout + row, width, m.values, first, last, m.ds + row * kBlock);
}

// dq of the tile's rows, dk and dv of the block's keys, one head at a time: its rows have one
// stride.
HWY_ATTR void add_products(const AttentionBackwardHead& a, const AttentionBackwardPart& part,
                           const BlockMemory& m, int64_t block, int64_t position, int64_t count,
                           Visible any) {
  const int64_t heads = a.shape.head_count / a.shape.kv_head_count, width = a.shape.head_width;
  const int64_t pitch = a.shape.head_count * width, key_pitch = a.shape.kv_head_count * width;
  const int64_t first_key = block * kBlock;
  if (part.query_gradient) {
    for (int64_t h = 0; h < heads; ++h) {
      weighted_sum({.weight = m.ds + h * kBlock,
                    .weight_row = heads * kBlock,
                    .weight_step = 1,
                    .x = a.k + first_key * key_pitch,
                    .x_stride = key_pitch,
                    .begin = any.begin,
                    .end = any.end,
                    .out = a.dq + position * pitch + h * width,
                    .out_stride = pitch},
                   count, width);
    }
  }
  if (part.key_gradient) {
    for (int64_t h = 0; h < heads; ++h) {
      Weighted w{.weight = m.ds + h * kBlock + any.begin,
                 .weight_row = 1,
                 .weight_step = heads * kBlock,
                 .x = a.q + position * pitch + h * width,
                 .x_stride = pitch,
                 .begin = 0,
                 .end = count,
                 .out = a.dk + (first_key + any.begin) * key_pitch,
                 .out_stride = key_pitch};
      weighted_sum(w, any.end - any.begin, width);
      w.weight = m.p + h * kBlock + any.begin;
      w.x = a.dout + position * pitch + h * width;
      w.out = a.dv + (first_key + any.begin) * key_pitch;
      weighted_sum(w, any.end - any.begin, width);
    }
  }
}

// The rows of `count` positions from `position` on, against the keys of one block.
HWY_ATTR void tile_of_rows(const AttentionBackwardHead& a, const AttentionBackwardPart& part,
                           BlockMemory& m, int64_t block, int64_t position, int64_t count) {
  const AttentionShape& s = a.shape;
  const int64_t heads = s.head_count / s.kv_head_count, width = s.head_width, rows = count * heads;
  const int64_t pitch = s.head_count * width;
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  const Visible any = {visible_in_block(position, s.window_tokens, block).begin,
                       visible_in_block(position + count - 1, s.window_tokens, block).end};
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = (position + r / heads) * pitch + r % heads * width;
    m.q[r] = a.q + at;
    m.dout[r] = a.dout + at;
  }
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4) raw_products<4>(m, row, width, any);
  for (; row < rows; ++row) raw_products<1>(m, row, width, any);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = position + r / heads;
    const float mean = dot(m.dout[r], a.out + i * pitch + r % heads * width, width);
    row_weights(m.p + r * kBlock, m.ds + r * kBlock, any,
                visible_in_block(i, s.window_tokens, block), scale,
                a.log_sum_exp[i * s.head_count + r % heads], mean);
  }
  add_products(a, part, m, block, position, count, any);
}

HWY_ATTR void zero_rows(float* x, int64_t stride, int64_t first, int64_t last, int64_t width) {
  for (int64_t i = first; i < last; ++i) std::fill_n(x + i * stride, width, 0.0f);
}

}  // namespace

void part_backward(const AttentionBackwardHead& a, const AttentionBackwardPart& part,
                   float* scratch) {
  const AttentionShape& s = a.shape;
  const int64_t heads = s.head_count / s.kv_head_count, width = s.head_width,
                key_pitch = s.kv_head_count * width;
  const int64_t tile = static_cast<int64_t>(
      std::bit_floor(static_cast<uint64_t>(kTileRows / heads)));  // Divides 64.
  BlockMemory m;
  m.keys = scratch;
  m.values = m.keys + width * kBlock;
  m.p = m.values + width * kBlock;
  m.ds = m.p + kTileRows * kBlock;
  if (part.query_gradient)
    zero_rows(a.dq, s.head_count * width, part.first_row, part.last_row, heads * width);
  if (part.key_gradient) {
    zero_rows(a.dk, key_pitch, part.first_key, part.last_key, width);
    zero_rows(a.dv, key_pitch, part.first_key, part.last_key, width);
  }
  for (int64_t block = part.first_key / kBlock; block * kBlock < part.last_key; ++block) {
    const int64_t first_key = block * kBlock;
    const Visible all = {0, std::min(kBlock, a.row_count - first_key)};
    transpose_block(a.k + first_key * key_pitch, key_pitch, width, all, m.keys);
    transpose_block(a.v + first_key * key_pitch, key_pitch, width, all, m.values);
    const int64_t seen_until =
        s.window_tokens > 0 ? first_key + all.end - 1 + s.window_tokens : a.row_count;
    const int64_t last_row = std::min(part.last_row, seen_until);
    // first_row and first_key are multiples of 64, hence of the tile: a document shared out among
    // workers keeps its tiles.
    for (int64_t row = std::max(part.first_row, first_key); row < last_row; row += tile) {
      tile_of_rows(a, part, m, block, row, std::min(tile, last_row - row));
    }
  }
}

void sink_gradient(const AttentionSinkHead& h) {
  const int64_t pitch = h.head_count * h.head_width;
  float gradient = *h.dsink;
  for (int64_t i = 0; i < h.row_count; ++i) {
    float share[kLanes];
    store(exp_of_nonpositive(set16(h.sink - h.log_sum_exp[i * h.head_count])), share);
    gradient = gradient - share[0] * dot(h.dout + i * pitch, h.out + i * pitch, h.head_width);
  }
  *h.dsink = gradient;
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(part_backward);
HWY_EXPORT(sink_gradient);

size_t attention_backward_scratch_bytes(const AttentionShape& shape) {
  return sizeof(float) * static_cast<size_t>(2 * KvView::kTokens * (shape.head_width + 64));
}

void attention_backward_part(const AttentionBackwardHead& head, const AttentionBackwardPart& part,
                             float* scratch) {
  DURE_DISPATCH(part_backward)(head, part, scratch);
}

void attention_sink_head(const AttentionSinkHead& head) { DURE_DISPATCH(sink_gradient)(head); }

}  // namespace dure::cpu
#endif
