// kernels/cpu/attention-inl.h: what the forward and backward tiles of attention share: transposed
// blocks, the two products (keys along the lanes; head width along the lanes), and the visible
// range of a row in a block.
#if defined(DURE_KERNELS_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DURE_KERNELS_CPU_ATTENTION_INL_H_
#undef DURE_KERNELS_CPU_ATTENTION_INL_H_
#else
#define DURE_KERNELS_CPU_ATTENTION_INL_H_
#endif

#include "kernels/attention.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {

constexpr int64_t kBlock = KvView::kTokens;       // keys in a block
constexpr int64_t kBlockLanes = kBlock / kLanes;  // 4 vectors
constexpr int64_t padded(int64_t width) { return (width + kLanes - 1) / kLanes * kLanes; }

// Places [begin, end) of a block that a row may see.
struct Visible {
  int64_t begin = 0, end = 0;
};
DURE_LANE_OP Visible visible_in_block(int64_t position, int64_t window, int64_t block) {
  const int64_t first = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
  const int64_t begin = std::clamp<int64_t>(first - block * kBlock, 0, kBlock);
  return {begin, std::clamp<int64_t>(position + 1 - block * kBlock, begin, kBlock)};
}

#if HWY_TARGET != HWY_SCALAR
DURE_LANE_OP void transpose_4x4(const float* from, int64_t stride, float* to) {
  const hn::FixedTag<float, 4> d;
  const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + stride);
  const auto r2 = hn::LoadU(d, from + 2 * stride), r3 = hn::LoadU(d, from + 3 * stride);
  const auto even_low = hn::InterleaveLower(d, r0, r2), odd_low = hn::InterleaveLower(d, r1, r3);
  const auto even_high = hn::InterleaveUpper(d, r0, r2), odd_high = hn::InterleaveUpper(d, r1, r3);
  hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, to);
  hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, to + kBlock);
  hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, to + 2 * kBlock);
  hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, to + 3 * kBlock);
}
#endif

// to: [width, 64], to[h][j] = from[j * stride + h] for j in [begin, end).
inline HWY_ATTR void transpose_block(const float* from, int64_t stride, int64_t width, Visible keys,
                                     float* to) {
  int64_t j = keys.begin;
#if HWY_TARGET != HWY_SCALAR
  for (; j + 4 <= keys.end; j += 4) {
    int64_t h = 0;
    for (; h + 4 <= width; h += 4)
      transpose_4x4(from + j * stride + h, stride, to + h * kBlock + j);
    for (; h < width; ++h) {
      for (int64_t i = 0; i < 4; ++i) to[h * kBlock + j + i] = from[(j + i) * stride + h];
    }
  }
#endif
  for (; j < keys.end; ++j) {
    for (int64_t h = 0; h < width; ++h) to[h * kBlock + j] = from[j * stride + h];
  }
}

// to: [64, padded(width)] f32, zero in the padding, for j in [begin, end); T: as stored.
template <class T>
inline HWY_ATTR void widen_block(const T* from, int64_t stride, int64_t width, Visible keys,
                                 float* to) {
  const int64_t pitch = padded(width), whole = width / kLanes * kLanes;
  for (int64_t j = keys.begin; j < keys.end; ++j) {
    const T* row = from + j * stride;
    for (int64_t h = 0; h < whole; h += kLanes) store(load16(row + h), to + j * pitch + h);
    for (int64_t h = whole; h < pitch; ++h) to[j * pitch + h] = h < width ? widened(row[h]) : 0.0f;
  }
}

// to: [width, 64] f32, whole vectors around [begin, end); from: the same, as stored.
template <class T>
inline HWY_ATTR void widen_turned(const T* from, int64_t width, Visible keys, float* to) {
  const int64_t first = keys.begin / kLanes * kLanes;
  for (int64_t h = 0; h < width; ++h) {
    for (int64_t j = first; j < keys.end; j += kLanes)
      store(load16(from + h * kBlock + j), to + h * kBlock + j);
  }
}

// One head's codes of Q8_0 in a block (kv_store.h): a value is code times scale, exactly. Keys:
// codes [width, 64], scales [width / 32, 64]; values: codes [64, width], scales [64, width / 32],
// widened.
struct Codes8 {
  const Code8* codes = nullptr;
  const float* scales = nullptr;
};
constexpr int64_t kCodesOfScale = 32;

// As the two above.
inline HWY_ATTR void widen_turned(Codes8 from, int64_t width, Visible keys, float* to) {
  const int64_t first = keys.begin / kLanes * kLanes;
  for (int64_t h = 0; h < width; ++h) {
    const float* scales = from.scales + h / kCodesOfScale * kBlock;
    for (int64_t j = first; j < keys.end; j += kLanes)
      store(mul(load16(from.codes + h * kBlock + j), load16(scales + j)), to + h * kBlock + j);
  }
}
inline HWY_ATTR void widen_block(Codes8 from, int64_t width, Visible keys, float* to) {
  for (int64_t j = keys.begin; j < keys.end; ++j) {
    const float* scales = from.scales + j * (width / kCodesOfScale);
    for (int64_t h = 0; h < width; h += kLanes) {
      const F16 scale = set16(scales[h / kCodesOfScale]);
      store(mul(load16(from.codes + j * width + h), scale), to + j * width + h);
    }
  }
}

// Keys as a product reads them, [width, 64]: 16 places of one h; a scale serves `keys_of_scale` h.
template <class T>
DURE_LANE_OP int64_t keys_of_scale(const T*, int64_t width) {
  return width;
}
DURE_LANE_OP int64_t keys_of_scale(Codes8, int64_t) { return kCodesOfScale; }
template <class T>
DURE_LANE_OP F16 key_scale(const T*, int64_t, int64_t) {
  return set16(1.0f);  // Never used.
}
DURE_LANE_OP F16 key_scale(Codes8 keys, int64_t h, int64_t place) {
  return load16(keys.scales + h / kCodesOfScale * kBlock + place);
}
template <class T>
DURE_LANE_OP F16 key_vector(const T* keys, int64_t at, F16) {
  return load16(keys + at);
}
DURE_LANE_OP F16 key_vector(Codes8 keys, int64_t at, F16 scale) {
  return mul(load16(keys.codes + at), scale);
}

// Memory that comes next, asked for while the products run: one row of a sequence meets everything
// for the first time, and what the processor fetches by itself ends at each page.
struct Ahead {
  static constexpr int64_t kLine = 64;
  const char* at = nullptr;
  int64_t lines_a_step = 0;
};
// `bytes` from `at` on, in `steps` steps.
inline Ahead ahead_of(const void* at, int64_t bytes, int64_t steps) {
  return {static_cast<const char*>(at),
          (bytes + steps * Ahead::kLine - 1) / (steps * Ahead::kLine)};
}
DURE_LANE_OP void fetch(Ahead& ahead) {
  for (int64_t line = 0; line < ahead.lines_a_step; ++line, ahead.at += Ahead::kLine)
    __builtin_prefetch(ahead.at, 0, 2);
}

// s: [kRows, 64] places of vectors [first, first + kVectors): one fma chain over h a place.
template <int kRows, int kVectors, class Keys>
DURE_LANE_OP void score_step(const float* const* rows, int64_t width, Keys transposed,
                             int64_t first, float* s, Ahead& ahead) {
  F16 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = set16(0.0f);
  }
  int64_t column = first * kLanes;
  const int64_t run = keys_of_scale(transposed, width);
  for (int64_t begin = 0; begin < width; begin += run) {
    F16 scale[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      scale[v] = key_scale(transposed, begin, (first + v) * kLanes);
    for (int64_t h = begin; h < begin + run; ++h, column += kBlock) {
      fetch(ahead);
      F16 key[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        key[v] = key_vector(transposed, column + v * kLanes, scale[v]);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const F16 x = set16(rows[r][h]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[r][v] = fma(x, key[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(sum[r][v], s + r * kBlock + (first + v) * kLanes);
  }
}

// As many accumulators as the registers hold: 16 of AVX-512's 32, 8 (halves of 4 lanes pairs) of
// AVX2's 16.
template <int kRows>
constexpr int kScoreVectors = kNative == 16 ? (kRows == 8 ? 2 : 4)
                                            : (kRows >= 4   ? 1
                                               : kRows == 2 ? 2
                                                            : 4);
// Rows that go through the registers at once; eight are two times four where there is no room, and
// the second four find what they share in the first cache.
template <int kRows>
constexpr int kRowsAtOnce = kNative == 16 ? kRows : std::min(kRows, 4);

template <int kRows, int kVectors, class Keys>
DURE_LANE_OP void score_vectors(const float* const* rows, int64_t width, Keys transposed,
                                int64_t first, float* s, Ahead& ahead) {
  constexpr int kAtOnce = kRowsAtOnce<kRows>;
#pragma GCC unroll 2
  for (int r = 0; r < kRows; r += kAtOnce)
    score_step<kAtOnce, kVectors>(rows + r, width, transposed, first, s + r * kBlock, ahead);
}

// Raw scores of kRows rows with the places of vectors [first, last) of a transposed block.
template <int kRows, class Keys>
inline HWY_ATTR void scores(const float* const* rows, int64_t width, Keys transposed, int64_t first,
                            int64_t last, float* s, const void* next = nullptr,
                            int64_t next_bytes = 0) {
  constexpr int kVectors = kScoreVectors<kRows>;
  Ahead ahead = ahead_of(
      next, next_bytes,
      std::max<int64_t>(1, (last - first) / kVectors) * (kRows / kRowsAtOnce<kRows>)*width);
  while (last - first >= kVectors) {
    score_vectors<kRows, kVectors>(rows, width, transposed, first, s, ahead);
    first += kVectors;
  }
  if constexpr (kVectors > 2) {
    if (last - first >= 2) {
      score_vectors<kRows, 2>(rows, width, transposed, first, s, ahead);
      first += 2;
    }
  }
  for (; first < last; ++first) score_vectors<kRows, 1>(rows, width, transposed, first, s, ahead);
}

// One product with the head width along the lanes: out[i][:] += sum over k ascending of weight[i *
// wi + k * wk] * x[k][:]. X: const T* or Codes8.
template <class X>
struct WeightedOf {
  const float* weight = nullptr;
  int64_t weight_row = 0, weight_step = 0;  // wi, wk
  X x = {};
  int64_t x_stride = 0;
  int64_t begin = 0, end = 0;  // k
  float* out = nullptr;
  int64_t out_stride = 0;
};
using Weighted = WeightedOf<const float*>;

// x[k][column ...] of one vector, of which the last has `lanes`; stored ones are whole.
template <bool kLast>
DURE_LANE_OP F16 x_vector(const float* x, int64_t stride, int64_t k, int64_t column,
                          int64_t lanes) {
  const float* from = x + k * stride + column;
  return kLast ? load16_n(from, lanes) : load16(from);
}
template <bool kLast, class T>
DURE_LANE_OP F16 x_vector(const T* x, int64_t stride, int64_t k, int64_t column, int64_t) {
  return load16(x + k * stride + column);
}
template <bool kLast>
DURE_LANE_OP F16 x_vector(Codes8 x, int64_t stride, int64_t k, int64_t column, int64_t) {
  const float scale = x.scales[k * (stride / kCodesOfScale) + column / kCodesOfScale];
  return mul(load16(x.codes + k * stride + column), set16(scale));
}

template <int kRows, int kVectors, class X>
DURE_LANE_OP void weighted_step(const WeightedOf<X>& w, int64_t column, int64_t lanes,
                                Ahead& ahead) {
  F16 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const float* from = w.out + r * w.out_stride + column + v * kLanes;
      sum[r][v] = kVectors == 1 ? load16_n(from, lanes) : load16(from);
    }
  }
  const float* weight = w.weight + w.begin * w.weight_step;
  for (int64_t k = w.begin; k < w.end; ++k, weight += w.weight_step) {
    fetch(ahead);
    F16 value[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      value[v] = x_vector<kVectors == 1>(w.x, w.x_stride, k, column + v * kLanes, lanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const F16 p = set16(weight[r * w.weight_row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = fma(p, value[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* to = w.out + r * w.out_stride + column + v * kLanes;
      if (kVectors == 1) {
        store_n(sum[r][v], to, lanes);
      } else {
        store(sum[r][v], to);
      }
    }
  }
}

template <int kRows, int kVectors, class X>
DURE_LANE_OP void weighted_vectors(WeightedOf<X> w, int64_t column, int64_t lanes, Ahead& ahead) {
  constexpr int kAtOnce = kRowsAtOnce<kRows>;
#pragma GCC unroll 2
  for (int r = 0; r < kRows; r += kAtOnce) {
    weighted_step<kAtOnce, kVectors>(w, column, lanes, ahead);
    w.weight += kAtOnce * w.weight_row;
    w.out += kAtOnce * w.out_stride;
  }
}

template <int kRows, class X>
inline HWY_ATTR void weighted_rows(const WeightedOf<X>& w, int64_t width,
                                   const void* next = nullptr, int64_t next_bytes = 0) {
  constexpr int kVectors = kScoreVectors<kRows>;
  Ahead ahead = ahead_of(next, next_bytes,
                         std::max<int64_t>(1, width / (kVectors * kLanes)) *
                             (kRows / kRowsAtOnce<kRows>)*(w.end - w.begin));
  int64_t column = 0;
  if constexpr (kVectors > 1) {
    for (; column + kVectors * kLanes <= width; column += kVectors * kLanes)
      weighted_vectors<kRows, kVectors>(w, column, kLanes, ahead);
  }
  if constexpr (kVectors > 2) {
    for (; column + 2 * kLanes <= width; column += 2 * kLanes)
      weighted_vectors<kRows, 2>(w, column, kLanes, ahead);
  }
  for (; column + kLanes <= width; column += kLanes)
    weighted_vectors<kRows, 1>(w, column, kLanes, ahead);
  if (column < width) weighted_vectors<kRows, 1>(w, column, width - column, ahead);
}

// Any number of output rows.
inline HWY_ATTR void weighted_sum(Weighted w, int64_t rows, int64_t width) {
  if (w.begin >= w.end) return;
  const auto advance = [&](int64_t n) {
    w.weight += n * w.weight_row;
    w.out += n * w.out_stride;
    rows -= n;
  };
  for (; rows >= 4; advance(4)) weighted_rows<4>(w, width);
  if (rows >= 2) {
    weighted_rows<2>(w, width);
    advance(2);
  }
  if (rows == 1) weighted_rows<1>(w, width);
}

// Lanes of vector v whose place is outside [begin, end) become `other`.
DURE_LANE_OP F16 keep_visible(F16 value, Visible keys, int64_t v, F16 other) {
  value = keep_first(value, keys.end - v * kLanes, other);
  return keys.begin <= v * kLanes ? value : keep_first(other, keys.begin - v * kLanes, value);
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
