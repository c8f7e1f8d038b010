// Panels with AVX2: pairs of products added in 16 bits where they fit, 8 columns a register.
#include "kernels/cpu/integer8_panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace dure::cpu {
namespace {

#define DURE_LAMBDA_INLINE __attribute__((always_inline))

#include "kernels/cpu/transpose_avx2-inl.h"

// ---- multiply: half a panel (8 columns) and kRows rows at a time

DURE_INLINE __m256i load(const void* at) {
  return _mm256_load_si256(static_cast<const __m256i*>(at));
}
DURE_INLINE __m256i broadcast(const void* at) {
  int32_t four;
  std::memcpy(&four, at, sizeof(four));
  return _mm256_set1_epi32(four);
}

// Stored values above 127 go as signed ones (less 128): the 16-bit sums of pairs would not hold
// them otherwise. What is left of the offset is then the same for both.
constexpr int kWideOffset = 128;
constexpr bool is_wide(int value_max) { return value_max > 127; }

// Pairs of products of one line of a panel with four values of x.
template <bool kWide>
DURE_INLINE __m256i pairs(__m256i w, __m256i x) {
  if constexpr (!kWide) return _mm256_maddubs_epi16(w, x);
  const __m256i less = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
  return _mm256_maddubs_epi16(_mm256_abs_epi8(less), _mm256_sign_epi8(x, less));
}

// How many pair sums of values up to value_max a 16-bit lane holds.
constexpr int pair_sums(int value_max) {
  return is_wide(value_max) ? 1 : 32767 / (value_max * 254);
}

// sum[r] = values . x[r] over one sub-block, of 8 columns from `column`.
template <int kSub, int kMax, int kRows>
DURE_INLINE void dots(const Panel& panel, int b, int column, const RowBlock& rows, __m256i* sum) {
  constexpr int kSteps = kSub / 4;
  constexpr int kTogether = pair_sums(kMax) < kSteps ? pair_sums(kMax) : kSteps;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i a[kRows];
#pragma GCC unroll 8
  for (int i = 0; i < kSteps; ++i) {
    const __m256i w = load(panel.values[b * kSteps + i][column]);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m256i both = pairs<is_wide(kMax)>(w, broadcast(rows.values[r] + b * kSub + 4 * i));
      a[r] = i % kTogether == 0 ? both : _mm256_add_epi16(a[r], both);
      if ((i + 1) % kTogether != 0 && i + 1 < kSteps) continue;
      const __m256i wide = _mm256_madd_epi16(a[r], ones);
      sum[r] = i < kTogether ? wide : _mm256_add_epi32(sum[r], wide);
    }
  }
}

template <int kSub>
DURE_INLINE int32_t sum_of(const int16_t* sums, int b) {
  if constexpr (kSub == 16) return sums[b];
  return sums[2 * b] + sums[2 * b + 1];
}

// y = fma(f32(sum), factor, y), or with -factor.
DURE_INLINE __m256 add_scaled(__m256i sum, __m256 factor, __m256 y) {
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, y);
}
DURE_INLINE __m256 take_scaled(__m256i sum, __m256 factor, __m256 y) {
  return _mm256_fnmadd_ps(_mm256_cvtepi32_ps(sum), factor, y);
}

// Sum over the sub-blocks of minima * (sum of x), two sub-blocks a word.
template <int kSub>
DURE_INLINE __m256i minima_sum(const Panel& panel, int column, const int16_t* sums) {
  __m256i low = _mm256_setzero_si256();
#pragma GCC unroll 8
  for (int p = 0; p < kPanelElements / kSub / 2; ++p) {
    const uint32_t first = static_cast<uint16_t>(sum_of<kSub>(sums, 2 * p));
    const auto second = static_cast<uint32_t>(sum_of<kSub>(sums, 2 * p + 1));
    const __m256i x = _mm256_set1_epi32(static_cast<int32_t>(first | second << 16));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(load(&panel.minima[p][column]), x));
  }
  return low;
}

// Half a panel of a tile: 8 columns.
template <int kSub, int kMax, bool kMinima, int kRows>
DURE_INLINE void whole_half(int offset, const Panel* tile, int half, const RowBlock& rows) {
  const Panel& panel = tile[half / 2];
  const int column = half % 2 * 8;
  __m256i weighted[kRows], sum[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) weighted[r] = _mm256_setzero_si256();
#pragma GCC unroll 1
  for (int b = 0; b < kPanelElements / kSub; ++b) {
    dots<kSub, kMax, kRows>(panel, b, column, rows, sum);
    const __m256i scale = load(&panel.scales[b][column]);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m256i start = _mm256_set1_epi32(offset * sum_of<kSub>(rows.sums[r], b));
      const __m256i less = _mm256_sub_epi32(sum[r], start);
      weighted[r] = _mm256_add_epi32(weighted[r], _mm256_mullo_epi32(less, scale));
    }
  }
  const __m256 d = _mm256_load_ps(panel.d[0] + column), e = _mm256_load_ps(panel.low[0] + column);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const __m256 scale = _mm256_set1_ps(*rows.scales[r]);
    float* const at = rows.y[r] + 8 * half;
    __m256 y = add_scaled(weighted[r], _mm256_mul_ps(d, scale), _mm256_loadu_ps(at));
    if constexpr (kMinima) {
      const __m256i low = minima_sum<kSub>(panel, column, rows.sums[r]);
      y = take_scaled(low, _mm256_mul_ps(e, scale), y);
    }
    _mm256_storeu_ps(at, y);
  }
}

template <int kMax, bool kMinima, int kRows>
DURE_INLINE void blocks_half(int offset, const Panel* tile, int elements, int half,
                             const RowBlock& rows) {
  const Panel& panel = tile[half / 2];
  const int column = half % 2 * 8;
  __m256i sum[kRows];
  for (int b = 0; b < elements / 32; ++b) {
    dots<32, kMax, kRows>(panel, b, column, rows, sum);
    const __m256 d = _mm256_load_ps(panel.d[b] + column), e = _mm256_load_ps(panel.low[b] + column);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const int32_t x = sum_of<32>(rows.sums[r], b);
      const __m256 scale = _mm256_set1_ps(rows.scales[r][b]);
      const __m256i less = _mm256_sub_epi32(sum[r], _mm256_set1_epi32(offset * x));
      float* const at = rows.y[r] + 8 * half;
      __m256 y = add_scaled(less, _mm256_mul_ps(d, scale), _mm256_loadu_ps(at));
      if (kMinima) y = take_scaled(_mm256_set1_epi32(x), _mm256_mul_ps(e, scale), y);
      _mm256_storeu_ps(at, y);
    }
  }
}

template <int kSub, int kMax, bool kMinima, bool kWhole, int kRows>
void multiply_rows(const IntegerFormat& f, const Panel* tile, int elements, const RowBlock& rows) {
  const int offset = f.offset - (is_wide(kMax) ? kWideOffset : 0);
  for (int half = 0; half < kTileColumns / 8; ++half) {
    if constexpr (kWhole)
      whole_half<kSub, kMax, kMinima, kRows>(offset, tile, half, rows);
    else
      blocks_half<kMax, kMinima, kRows>(offset, tile, elements, half, rows);
  }
}

template <int kSub, int kMax, bool kMinima, bool kWhole>
void multiply_as(const IntegerFormat& f, const Panel* tile, int elements, RowBlock rows) {
  while (rows.count > 0) {
    const int count = rows.count >= 4 ? 4 : 1;
    if (count == 4)
      multiply_rows<kSub, kMax, kMinima, kWhole, 4>(f, tile, elements, rows);
    else
      multiply_rows<kSub, kMax, kMinima, kWhole, 1>(f, tile, elements, rows);
    drop_rows(rows, count);
  }
}

void multiply(const IntegerFormat& f, const Panel* tile, int elements, const RowBlock& rows) {
  if (f.elements == 32) {
    if (is_wide(f.value_max)) return multiply_as<32, 255, false, false>(f, tile, elements, rows);
    return f.minima ? multiply_as<32, 31, true, false>(f, tile, elements, rows)
                    : multiply_as<32, 31, false, false>(f, tile, elements, rows);
  }
  if (f.sub_block == 16) {
    return f.minima ? multiply_as<16, 3, true, true>(f, tile, elements, rows)
                    : multiply_as<16, 63, false, true>(f, tile, elements, rows);
  }
  if (!f.minima) return multiply_as<32, 255, false, true>(f, tile, elements, rows);
  return f.value_max > 15 ? multiply_as<32, 31, true, true>(f, tile, elements, rows)
                          : multiply_as<32, 15, true, true>(f, tile, elements, rows);
}

double chains(int64_t rounds, int32_t* out) {
  constexpr int kChains = 8;
  __m256i sum[kChains], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-2);
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
  for (int i = 0; i < kChains; ++i) sum[i] = _mm256_set1_epi32(i);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kChains; ++i) {
      asm volatile("" : "+x"(a), "+x"(b));  // Each product is computed.
      sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
  }
  alignas(32) int32_t lanes[8];
  for (int i = 0; i < kChains; ++i) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum[i]);
    *out += lanes[0];
  }
  return static_cast<double>(rounds) * kChains * 32 * 2;
}

// ---- unpack

struct Words {
  __m256i low, high;  // columns 0 to 7, 8 to 15
};

// 32 bytes of each row by `load_row`, as eight words of every row.
template <typename Load>
DURE_INLINE void load_eight(Load load_row, Words* t) {
  __m256i low[8], high[8];
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) {
    low[r] = load_row(r);
    high[r] = load_row(r + 8);
  }
  transpose8(low);
  transpose8(high);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) t[j] = {low[j], high[j]};
}

DURE_INLINE __m256i row_at(const PanelRows& rows, int r, int64_t offset) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows.at[r] + offset));
}
DURE_INLINE __m128i half_row_at(const PanelRows& rows, int r, int64_t offset) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.at[r] + offset));
}

DURE_INLINE void load_pairs(const PanelRows& rows, int64_t first, int64_t second, Words* t) {
  load_eight([&](int r) DURE_LAMBDA_INLINE { return row_at(rows, r, first); }, t);
  load_eight([&](int r) DURE_LAMBDA_INLINE { return row_at(rows, r, second); }, t + 8);
}
DURE_INLINE void load_words(const PanelRows& rows, int64_t offset, Words* t) {
  load_pairs(rows, offset, offset + 32, t);
}
DURE_INLINE void load_quarters(const PanelRows& rows, int64_t offset, int64_t stride, Words* t) {
  for (int i = 0; i < 2; ++i) {
    const int64_t at = offset + 2 * i * stride;
    load_eight(
        [&](int r) DURE_LAMBDA_INLINE {
          return _mm256_set_m128i(half_row_at(rows, r, at + stride), half_row_at(rows, r, at));
        },
        t + 8 * i);
  }
}
DURE_INLINE void load_header(const PanelRows& rows, int64_t offset, Words* t) {
  Words both[8];
  load_eight(
      [&](int r)
          DURE_LAMBDA_INLINE { return _mm256_castsi128_si256(half_row_at(rows, r, offset)); },
      both);
  for (int i = 0; i < 4; ++i) t[i] = both[i];
}

DURE_INLINE Words all(int value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
DURE_INLINE Words bits_of(Words w, int shift, int mask) {
  const __m256i m = _mm256_set1_epi32(mask);
  return {_mm256_and_si256(_mm256_srli_epi32(w.low, shift), m),
          _mm256_and_si256(_mm256_srli_epi32(w.high, shift), m)};
}
DURE_INLINE Words left(Words w, int shift) {
  return {_mm256_slli_epi32(w.low, shift), _mm256_slli_epi32(w.high, shift)};
}
DURE_INLINE Words either(Words a, Words b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
DURE_INLINE Words exclusive(Words a, Words b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
DURE_INLINE Words minus(Words a, Words b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
DURE_INLINE Words look_up(const uint8_t* table, Words codes) {
  const __m256i t =
      _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
  return {_mm256_shuffle_epi8(t, codes.low), _mm256_shuffle_epi8(t, codes.high)};
}
DURE_INLINE void store(void* at, Words w) {
  _mm256_store_si256(static_cast<__m256i*>(at), w.low);
  _mm256_store_si256(static_cast<__m256i*>(at) + 1, w.high);
}
DURE_INLINE void store_halves(float* at, const uint16_t* bits) {
  const auto* const b = reinterpret_cast<const __m128i*>(bits);
  _mm256_store_ps(at, _mm256_cvtph_ps(_mm_load_si128(b)));
  _mm256_store_ps(at + 8, _mm256_cvtph_ps(_mm_load_si128(b + 1)));
}
DURE_INLINE void store_halves(float* at, Words words) {
  alignas(32) uint16_t bits[16];
  const __m256i packed = _mm256_packus_epi32(words.low, words.high);
  _mm256_store_si256(reinterpret_cast<__m256i*>(bits), _mm256_permute4x64_epi64(packed, 0xd8));
  store_halves(at, bits);
}

#include "kernels/cpu/integer8_unpack-inl.h"

}  // namespace

const Integer8Body& integer8_avx2() {
  static constexpr Integer8Body body{unpack, multiply, few_rows_avx2, few_avx2, chains};
  return body;
}

}  // namespace dure::cpu
#pragma GCC pop_options
#else
namespace dure::cpu {
const Integer8Body& integer8_avx2() { return integer8_generic(); }
}  // namespace dure::cpu
#endif
