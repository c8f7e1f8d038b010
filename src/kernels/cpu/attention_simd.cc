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

constexpr int kRowsMax = 8;
constexpr int64_t kRowsDirect = 2 * kRowsMax;

// P: padded head width; R: row_count * N rows, (position, head) in this order.
int64_t rows_of(const AttentionTile& tile) {
  return tile.row_count * (tile.shape.head_count / tile.shape.kv_head_count);
}
int64_t state_floats(const AttentionTile& tile) {
  return padded(rows_of(tile) * (padded(tile.shape.head_width) + 2));
}
struct State {
  float* out;      // [R, P]
  float* sum;      // [R]; 0: no key seen
  float* maximum;  // [R]
};
State state_at(float* memory, const AttentionTile& tile) {
  const int64_t rows = rows_of(tile);
  State state{.out = memory};
  state.sum = state.out + rows * padded(tile.shape.head_width);
  state.maximum = state.sum + rows;
  return state;
}

// What a block is worked on with.
struct BlockMemory {
  float* turned;   // [H, 64] keys that are not usable in place
  float* wide;     // [64, P] values (before them keys) that are not
  float* scales;   // of Q8_0: keys' [H / 32, 64], values' [64, H / 32]
  float* weights;  // [8, 64] scores, then exp(score - maximum)
};
BlockMemory divide(float* scratch, int64_t width) {
  BlockMemory m{.turned = scratch};
  m.wide = m.turned + width * kBlock;
  m.scales = m.wide + padded(width) * kBlock;
  m.weights = m.scales + 2 * padded(width) / kCodesOfScale * kBlock;
  return m;
}

// A block of one key head as the products take it. X: const T* or Codes8.
template <class X>
struct BlockRows {
  X keys;    // [H, 64]
  X values;  // [64, P or more]
  int64_t value_stride;
  // What to fetch during the sums: the next block's keys, as stored. Null: nothing.
  const void* keys_ahead = nullptr;
  int64_t ahead_bytes = 0;
};

template <class T>
const T* head_of(const AttentionTile& tile, const void* block) {
  const int64_t width = tile.shape.head_width;
  return static_cast<const T*>(block) +
         tile.kv_head * (tile.kv.layout == KvLayout::kHeads ? kBlock * width : width);
}

// One head's share of a block of Q8_0; its scales are widened to `scales`.
HWY_ATTR Codes8 codes_of(const AttentionTile& tile, const void* block, float* scales) {
  const int64_t elements = kBlock * tile.shape.head_width;
  const char* head =
      static_cast<const char*>(block) + tile.kv_head * row_bytes(DType::kQ8_0, elements);
  const auto* from = reinterpret_cast<const Half16*>(head + elements);
  for (int64_t i = 0; i < elements / kCodesOfScale; i += kLanes)
    store(load16(from + i), scales + i);
  return {reinterpret_cast<const Code8*>(head), scales};
}

template <class T>
HWY_ATTR BlockRows<const float*> wide_block(const AttentionTile& tile, int64_t block, Visible any,
                                            const BlockMemory& m) {
  const int64_t width = tile.shape.head_width;
  const T* keys = head_of<T>(tile, tile.kv.key_block(block));
  const T* values = head_of<T>(tile, tile.kv.value_block(block));
  const bool turned = tile.kv.layout == KvLayout::kHeads;
  const int64_t stride = turned ? width : tile.kv.row_stride;
  BlockRows<const float*> out{m.turned, m.wide, padded(width)};
  if constexpr (std::is_same_v<T, float>) {
    if (turned) {
      out.keys = keys;
    } else {
      transpose_block(keys, stride, width, any, m.turned);
    }
    if (width % kLanes == 0) return {out.keys, values, stride};
  } else if (turned) {
    widen_turned(keys, width, any, m.turned);
  } else {
    widen_block(keys, stride, width, any, m.wide);
    transpose_block(m.wide, padded(width), width, any, m.turned);
  }
  widen_block(values, stride, width, any, m.wide);
  return out;
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
template <int kRows, class X>
HWY_ATTR void block_rows(const float* const* q, const Visible* keys, float scale, float* weights,
                         const State& state, int64_t first, const BlockRows<X>& block,
                         int64_t width) {
  Visible any = keys[0], all = keys[0];
  for (int r = 1; r < kRows; ++r) {
    any = {std::min(any.begin, keys[r].begin), std::max(any.end, keys[r].end)};
    all = {std::max(all.begin, keys[r].begin), std::min(all.end, keys[r].end)};
  }
  all.end = std::max(all.begin, all.end);
  scores<kRows>(q, width, block.keys, any.begin / kLanes, (any.end + kLanes - 1) / kLanes, weights);
  const int64_t pitch = padded(width);
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = first + r;
    const float factor =
        softmax_step(keys[r], scale, weights + r * kBlock, state.maximum[row], state.sum[row]);
    if (factor != 1.0f) rescale(state.out + row * pitch, pitch, factor);
  }
  // Keys that all rows see go through four rows at once; those at the edges, row by row: no row
  // meets a key it may not see.
  WeightedOf<X> w{.weight = weights,
                  .weight_row = kBlock,
                  .weight_step = 1,
                  .x = block.values,
                  .x_stride = block.value_stride,
                  .out = state.out + first * pitch,
                  .out_stride = pitch};
  const auto edges = [&](int r, int64_t begin, int64_t end) {
    WeightedOf<X> one = w;
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
    weighted_rows<kRows>(w, pitch, block.keys_ahead, block.ahead_bytes);
  }
  for (int r = 0; r < kRows; ++r) edges(r, std::max(all.end, keys[r].begin), keys[r].end);
}

// All rows of a tile that see some key of a block, in groups of 8, 4, 2 or 1.
template <class X>
HWY_ATTR void all_rows(const AttentionTile& tile, int64_t block, BlockRows<X> kv, float* weights,
                       const State& state) {
  const AttentionShape& s = tile.shape;
  const int64_t heads = s.head_count / s.kv_head_count, width = s.head_width, rows = rows_of(tile);
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  const float* q[kRowsMax];
  Visible keys[kRowsMax];
  int64_t row = 0;
  while (row < rows) {
    int count = 0;
    for (; count < kRowsMax && row + count < rows; ++count) {
      const int64_t i = (row + count) / heads;
      keys[count] = visible_in_block(tile.first_position + i, s.window_tokens, block);
      if (keys[count].begin == keys[count].end) break;
      q[count] = tile.q + (i * s.head_count + (row + count) % heads) * width;
    }
    if (count == 8) {
      block_rows<8>(q, keys, scale, weights, state, row, kv, width);
      row += 8;
    } else if (count >= 4) {
      block_rows<4>(q, keys, scale, weights, state, row, kv, width);
      row += 4;
    } else if (count >= 2) {
      block_rows<2>(q, keys, scale, weights, state, row, kv, width);
      row += 2;
    } else if (count == 1) {
      block_rows<1>(q, keys, scale, weights, state, row, kv, width);
      row += 1;
    } else {
      ++row;
      continue;
    }
    kv.keys_ahead = nullptr;
    kv.ahead_bytes = 0;
  }
}

// What some row of the tile sees of a block.
Visible seen_by_any(const AttentionTile& tile, int64_t block) {
  const int64_t window = tile.shape.window_tokens;
  return {visible_in_block(tile.first_position, window, block).begin,
          visible_in_block(tile.last_key(), window, block).end};
}

template <class X>
void fetch_next_keys(const AttentionTile& tile, int64_t block, BlockRows<X>& rows) {
  if (block >= tile.last_key() / kBlock) return;
  rows.ahead_bytes = row_bytes(tile.kv.dtype, kBlock * tile.shape.head_width);
  rows.keys_ahead =
      static_cast<const char*>(tile.kv.key_block(block + 1)) + tile.kv_head * rows.ahead_bytes;
}

// Few rows read a cache's blocks as they are stored: smaller types are widened once for every
// kRowsMax rows. More rows share a block that is made f32 once.
template <class T>
HWY_ATTR void one_block(const AttentionTile& tile, int64_t block, const BlockMemory& m,
                        const State& state) {
  const int64_t width = tile.shape.head_width;
  if (rows_of(tile) <= kRowsDirect && width % kLanes == 0 && tile.kv.layout == KvLayout::kHeads) {
    BlockRows<const T*> stored{head_of<T>(tile, tile.kv.key_block(block)),
                               head_of<T>(tile, tile.kv.value_block(block)), width};
    fetch_next_keys(tile, block, stored);
    return all_rows(tile, block, stored, m.weights, state);
  }
  all_rows(tile, block, wide_block<T>(tile, block, seen_by_any(tile, block), m), m.weights, state);
}

HWY_ATTR void one_block_q8_0(const AttentionTile& tile, int64_t block, const BlockMemory& m,
                             const State& state) {
  const int64_t width = tile.shape.head_width;
  const Codes8 keys = codes_of(tile, tile.kv.key_block(block), m.scales),
               values = codes_of(tile, tile.kv.value_block(block),
                                 m.scales + width / kCodesOfScale * kBlock);
  if (rows_of(tile) <= kRowsDirect) {
    BlockRows<Codes8> stored{keys, values, width};
    fetch_next_keys(tile, block, stored);
    return all_rows(tile, block, stored, m.weights, state);
  }
  const Visible any = seen_by_any(tile, block);
  widen_turned(keys, width, any, m.turned);
  widen_block(values, width, any, m.wide);
  all_rows(tile, block, BlockRows<const float*>{m.turned, m.wide, width}, m.weights, state);
}

// Partition `index` of the tile, counted from its first.
HWY_ATTR void one_partition(const AttentionTile& tile, int64_t index, const BlockMemory& m,
                            const State& state) {
  const int64_t rows = rows_of(tile);
  std::fill_n(state.out, rows * padded(tile.shape.head_width), 0.0f);
  std::fill_n(state.sum, rows, 0.0f);
  std::fill_n(state.maximum, rows, -__builtin_inff());
  const int64_t begin = (tile.first_partition() + index) * kPartitionTokens,
                first = std::max(begin, tile.first_key()),
                last = std::min(begin + kPartitionTokens - 1, tile.last_key());
  for (int64_t block = first / kBlock; block <= last / kBlock; ++block) {
    switch (tile.kv.dtype) {
      case DType::kBF16:
        one_block<Bf16>(tile, block, m, state);
        break;
      case DType::kF16:
        one_block<Half16>(tile, block, m, state);
        break;
      case DType::kQ8_0:
        one_block_q8_0(tile, block, m, state);
        break;
      default:
        one_block<float>(tile, block, m, state);
    }
  }
}

// `to` takes up the next partition; rows that saw none of its keys stay as they are.
HWY_ATTR void merge(const State& to, const State& next, int64_t rows, int64_t pitch) {
  for (int64_t row = 0; row < rows; ++row) {
    if (next.sum[row] == 0) continue;
    float *out = to.out + row * pitch, *from = next.out + row * pitch;
    if (to.sum[row] == 0) {  // The first that this row sees.
      std::copy_n(from, pitch, out);
      to.sum[row] = next.sum[row];
      to.maximum[row] = next.maximum[row];
      continue;
    }
    const float maximum = std::max(to.maximum[row], next.maximum[row]);
    const F16 a = exp_of_nonpositive(set16(to.maximum[row] - maximum)),
              b = exp_of_nonpositive(set16(next.maximum[row] - maximum));
    for (int64_t c = 0; c < pitch; c += kLanes)
      store(fma(load16(out + c), a, mul(load16(from + c), b)), out + c);
    float factors[2][kLanes];
    store(a, factors[0]);
    store(b, factors[1]);
    to.sum[row] = std::fma(to.sum[row], factors[0][0], next.sum[row] * factors[1][0]);
    to.maximum[row] = maximum;
  }
}

// The sinks of the rows' heads: more of the sum, and no value.
HWY_ATTR void add_sinks(const AttentionTile& tile, const State& state) {
  const int64_t heads = tile.shape.head_count / tile.shape.kv_head_count,
                pitch = padded(tile.shape.head_width);
  for (int64_t row = 0; row < rows_of(tile); ++row) {
    const float sink = tile.sinks[row % heads], maximum = std::max(state.maximum[row], sink);
    float kept[kLanes], added[kLanes];
    store(exp_of_nonpositive(set16(state.maximum[row] - maximum)), kept);
    store(exp_of_nonpositive(set16(sink - maximum)), added);
    rescale(state.out + row * pitch, pitch, kept[0]);
    state.sum[row] = std::fma(state.sum[row], kept[0], added[0]);
    state.maximum[row] = maximum;
  }
}

// out / sum, and the logarithm of the whole softmax sum.
HWY_ATTR void finish(const AttentionTile& tile, const State& state) {
  if (tile.sinks != nullptr) add_sinks(tile, state);
  const AttentionShape& s = tile.shape;
  const int64_t heads = s.head_count / s.kv_head_count, width = s.head_width, pitch = padded(width);
  for (int64_t row = 0; row < tile.row_count * heads; ++row) {
    const int64_t to = row / heads * s.head_count + row % heads;
    const F16 inverse = set16(1.0f / state.sum[row]);
    for (int64_t c = 0; c < width; c += kLanes) {
      store_n(mul(load16(state.out + row * pitch + c), inverse), tile.out + to * width + c,
              width - c);
    }
    if (tile.log_sum_exp != nullptr)
      tile.log_sum_exp[to] = state.maximum[row] + log_f32(state.sum[row]);
  }
}

}  // namespace

void tile_partitions(const AttentionTile& tile, int64_t first, int64_t last, float* states,
                     float* scratch) {
  const BlockMemory m = divide(scratch, tile.shape.head_width);
  for (int64_t i = first; i < last; ++i)
    one_partition(tile, i, m, state_at(states + i * state_floats(tile), tile));
}

void tile_merge(const AttentionTile& tile, float* states) {
  const State all = state_at(states, tile);
  for (int64_t i = 1; i < tile.partition_count(); ++i) {
    merge(all, state_at(states + i * state_floats(tile), tile), rows_of(tile),
          padded(tile.shape.head_width));
  }
  finish(tile, all);
}

// As the two above, with two states however many partitions there are.
void tile_forward(const AttentionTile& tile, float* scratch) {
  const BlockMemory m = divide(scratch, tile.shape.head_width);
  float* states = m.weights + kRowsMax * kBlock;
  const State all = state_at(states, tile), next = state_at(states + state_floats(tile), tile);
  one_partition(tile, 0, m, all);
  for (int64_t i = 1; i < tile.partition_count(); ++i) {
    one_partition(tile, i, m, next);
    merge(all, next, rows_of(tile), padded(tile.shape.head_width));
  }
  finish(tile, all);
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(tile_forward);
HWY_EXPORT(tile_partitions);
HWY_EXPORT(tile_merge);

int64_t attention_state_floats(const AttentionTile& tile) {
  const int64_t width = (tile.shape.head_width + 15) / 16 * 16,
                rows = tile.row_count * (tile.shape.head_count / tile.shape.kv_head_count);
  return (rows * (width + 2) + 15) / 16 * 16;
}

size_t attention_scratch_bytes(const AttentionTile& tile) {
  const int64_t width = (tile.shape.head_width + 15) / 16 * 16,
                states = tile.partition_count() > 1 ? 2 : 1;
  return sizeof(float) *
         static_cast<size_t>(2 * width * KvView::kTokens + 2 * width / 32 * KvView::kTokens +
                             8 * KvView::kTokens + states * attention_state_floats(tile));
}

void attention_tile(const AttentionTile& tile, float* scratch) {
  DURE_DISPATCH(tile_forward)(tile, scratch);
}

void attention_partitions(const AttentionTile& tile, int64_t first, int64_t last, float* states,
                          float* scratch) {
  DURE_DISPATCH(tile_partitions)(tile, first, last, states, scratch);
}

void attention_merge(const AttentionTile& tile, float* states) {
  DURE_DISPATCH(tile_merge)(tile, states);
}

}  // namespace dure::cpu
#endif
