// Forward tile of attention. Order of every operation: kernels/attention.h.
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_simd.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/attention_simd.h"
#include "kernels/cpu/log.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {
namespace {

constexpr int kRowsMax = 4;

// Where a tile keeps its running state. P: padded head width; R: row_count * N rows, (position,
// head) in this order.
struct TileMemory {
  float* transposed;  // [H, 64] keys of the block
  float* wide;        // [64, P] keys, then values, of a block that is not usable in place
  float* weights;     // [4, 64] scores, then exp(score - maximum)
  float* sum;         // [R]
  float* maximum;     // [R]
  float* out;         // [R, P]
};

TileMemory divide(float* scratch, int64_t width, int64_t rows) {
  TileMemory m;
  m.transposed = scratch;
  m.wide = m.transposed + width * kBlock;
  m.weights = m.wide + padded(width) * kBlock;
  m.out = m.weights + kRowsMax * kBlock;
  m.sum = m.out + rows * padded(width);
  m.maximum = m.sum + rows;
  return m;
}

// Rows of a block as f32 with a stride: in place, or through `wide`.
struct Rows {
  const float* data;
  int64_t stride;
};
HWY_ATTR Rows usable_rows(const AttentionTile& tile, const void* block, Visible keys,
                          bool needs_padding, float* wide) {
  const int64_t width = tile.shape.head_width, offset = tile.kv_head * width;
  if (tile.kv.dtype == DType::kBF16) {
    widen_block(static_cast<const uint16_t*>(block) + offset, tile.kv.row_stride, width, keys,
                wide);
    return {wide, padded(width)};
  }
  const float* data = static_cast<const float*>(block) + offset;
  if (!needs_padding || width % kLanes == 0) return {data, tile.kv.row_stride};
  copy_block(data, tile.kv.row_stride, width, keys, wide);
  return {wide, padded(width)};
}

// Scores of one row become weights; its maximum and sum move on. Returns the factor for what was
// summed before.
HWY_ATTR float softmax_step(Visible keys, float scale, float* s, float& maximum, float& sum) {
  const int64_t first = keys.begin / kLanes, last = (keys.end + kLanes - 1) / kLanes;
  const F16 minus_infinity = set16(-__builtin_inff());
  F16 top = minus_infinity;
  for (int64_t v = first; v < last; ++v) {
    const F16 x = keep_visible(mul(load16(s + v * kLanes), set16(scale)), keys, v, minus_infinity);
    store(x, s + v * kLanes);
    top = max(top, x);
  }
  const float before = maximum;
  maximum = std::max(before, max16(top));
  F16 part[kBlockLanes] = {set16(0.0f), set16(0.0f), set16(0.0f), set16(0.0f)};
  for (int64_t v = first; v < last; ++v) {
    part[v] = exp_of_nonpositive(sub(load16(s + v * kLanes), set16(maximum)));
    store(part[v], s + v * kLanes);
  }
  const float block_sum = sum16(add(add(part[0], part[1]), add(part[2], part[3])));
  if (before == maximum) {
    sum = sum + block_sum;
    return 1.0f;
  }
  float factor[kLanes];
  store(exp_of_nonpositive(set16(before - maximum)), factor);
  sum = std::fma(sum, factor[0], block_sum);
  return factor[0];
}

HWY_ATTR void rescale(float* out, int64_t columns, float factor) {
  for (int64_t c = 0; c < columns; c += kLanes) store(mul(load16(out + c), set16(factor)), out + c);
}

// kRows rows of one block: `keys[r]` is what row r sees, never empty.
template <int kRows>
HWY_ATTR void block_rows(const float* const* q, const Visible* keys, float scale,
                         const TileMemory& m, int64_t first, Rows values, int64_t width) {
  Visible any = keys[0], all = keys[0];
  for (int r = 1; r < kRows; ++r) {
    any = {std::min(any.begin, keys[r].begin), std::max(any.end, keys[r].end)};
    all = {std::max(all.begin, keys[r].begin), std::min(all.end, keys[r].end)};
  }
  all.end = std::max(all.begin, all.end);
  scores<kRows>(q, width, m.transposed, any.begin / kLanes, (any.end + kLanes - 1) / kLanes,
                m.weights);
  const int64_t pitch = padded(width);
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = first + r;
    const float factor =
        softmax_step(keys[r], scale, m.weights + r * kBlock, m.maximum[row], m.sum[row]);
    if (factor != 1.0f) rescale(m.out + row * pitch, pitch, factor);
  }
  // Keys that all rows see go through four rows at once; those at the edges, row by row: no row
  // meets a key it may not see.
  Weighted w{.weight = m.weights,
             .weight_row = kBlock,
             .weight_step = 1,
             .x = values.data,
             .x_stride = values.stride,
             .out = m.out + first * pitch,
             .out_stride = pitch};
  const auto edges = [&](int r, int64_t begin, int64_t end) {
    Weighted one = w;
    one.weight += r * kBlock;
    one.out += r * pitch;
    one.begin = begin;
    one.end = end;
    if (begin < end) weighted_rows<1>(one, pitch);
  };
  for (int r = 0; r < kRows; ++r) edges(r, keys[r].begin, std::min(all.begin, keys[r].end));
  if (all.begin < all.end) {
    w.begin = all.begin;
    w.end = all.end;
    weighted_rows<kRows>(w, pitch);
  }
  for (int r = 0; r < kRows; ++r) edges(r, std::max(all.end, keys[r].begin), keys[r].end);
}

HWY_ATTR void one_block(const AttentionTile& tile, int64_t block, const TileMemory& m) {
  const AttentionShape& s = tile.shape;
  const int64_t heads = s.head_count / s.kv_head_count, width = s.head_width,
                last_row = tile.row_count - 1;
  const Visible newest = visible_in_block(tile.first_position + last_row, s.window_tokens, block);
  const Visible oldest = visible_in_block(tile.first_position, s.window_tokens, block);
  const Visible any = {oldest.begin, newest.end};
  const Rows key_rows = usable_rows(tile, tile.kv.key_block(block), any, false, m.wide);
  transpose_block(key_rows.data, key_rows.stride, width, any, m.transposed);
  const Rows values = usable_rows(tile, tile.kv.value_block(block), any, true, m.wide);
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  const float* q[kRowsMax];
  Visible keys[kRowsMax];
  const int64_t rows = tile.row_count * heads;
  int64_t row = 0;
  while (row < rows) {  // Groups of 4, 2 or 1 rows that see some key of this block.
    int count = 0;
    for (; count < kRowsMax && row + count < rows; ++count) {
      const int64_t i = (row + count) / heads;
      keys[count] = visible_in_block(tile.first_position + i, s.window_tokens, block);
      if (keys[count].begin == keys[count].end) break;
      q[count] = tile.q + (i * s.head_count + (row + count) % heads) * width;
    }
    if (count == 4) {
      block_rows<4>(q, keys, scale, m, row, values, width);
      row += 4;
    } else if (count >= 2) {
      block_rows<2>(q, keys, scale, m, row, values, width);
      row += 2;
    } else if (count == 1) {
      block_rows<1>(q, keys, scale, m, row, values, width);
      row += 1;
    } else {
      ++row;
    }
  }
}

// out / sum, and the logarithm of the whole softmax sum.
HWY_ATTR void finish(const AttentionTile& tile, const TileMemory& m) {
  const AttentionShape& s = tile.shape;
  const int64_t heads = s.head_count / s.kv_head_count, width = s.head_width, pitch = padded(width);
  for (int64_t row = 0; row < tile.row_count * heads; ++row) {
    const int64_t to = row / heads * s.head_count + row % heads;
    const F16 inverse = set16(1.0f / m.sum[row]);
    for (int64_t c = 0; c < width; c += kLanes) {
      store_n(mul(load16(m.out + row * pitch + c), inverse), tile.out + to * width + c, width - c);
    }
    if (tile.log_sum_exp != nullptr) tile.log_sum_exp[to] = m.maximum[row] + log_f32(m.sum[row]);
  }
}

}  // namespace

void tile_forward(const AttentionTile& tile, float* scratch) {
  const AttentionShape& s = tile.shape;
  const int64_t rows = tile.row_count * (s.head_count / s.kv_head_count),
                pitch = padded(s.head_width);
  const TileMemory m = divide(scratch, s.head_width, rows);
  std::fill_n(m.out, rows * pitch, 0.0f);
  std::fill_n(m.sum, rows, 0.0f);
  std::fill_n(m.maximum, rows, -__builtin_inff());
  const int64_t oldest =
      s.window_tokens > 0 ? std::max<int64_t>(0, tile.first_position - s.window_tokens + 1) : 0;
  for (int64_t block = oldest / kBlock;
       block <= (tile.first_position + tile.row_count - 1) / kBlock; ++block)
    one_block(tile, block, m);
  finish(tile, m);
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(tile_forward);

size_t attention_scratch_bytes(const AttentionShape& shape, int64_t row_count) {
  const int64_t width = (shape.head_width + 15) / 16 * 16,
                rows = row_count * (shape.head_count / shape.kv_head_count);
  return sizeof(float) * static_cast<size_t>(2 * width * KvView::kTokens + 4 * KvView::kTokens +
                                             rows * (width + 2) + 64);
}

void attention_tile(const AttentionTile& tile, float* scratch) {
  DURE_DISPATCH(tile_forward)(tile, scratch);
}

}  // namespace dure::cpu
#endif
