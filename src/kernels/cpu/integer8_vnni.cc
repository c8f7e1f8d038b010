// Panels with AVX-512 and VNNI: four products and their sum an instruction and lane, 16 columns a
// register. The types people use are taken apart in registers (a transposition of 16 rows); the
// others by unpack_generic().
#include "kernels/cpu/integer8_panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "kernels/block_codebooks.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 misreads its own undefined() intrinsics.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")

namespace dure::cpu {
namespace {

#define DURE_INLINE inline __attribute__((always_inline))
#define DURE_LAMBDA_INLINE __attribute__((always_inline))

// ---- multiply

// Sums of 16 values of x as 16 lanes, or of 32 in the lower eight.
template <int kSub>
DURE_INLINE __m512i sums_of(const int16_t* sums) {
  const __m256i sixteen = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
  if constexpr (kSub == 16) return _mm512_cvtepi16_epi32(sixteen);
  return _mm512_zextsi256_si512(_mm256_madd_epi16(sixteen, _mm256_set1_epi16(1)));
}

DURE_INLINE __m512i broadcast(const void* at) {
  int32_t four;
  std::memcpy(&four, at, sizeof(four));
  return _mm512_set1_epi32(four);
}

// What each sub-block's sum starts from: -offset * (sum of x).
template <int kSub, int kRows>
DURE_INLINE void starts(const RowBlock& rows, int offset, int32_t (*out)[16]) {
  const __m512i minus = _mm512_set1_epi32(-offset);
  for (int r = 0; r < kRows; ++r)
    _mm512_store_si512(out[r], _mm512_mullo_epi32(sums_of<kSub>(rows.sums[r]), minus));
}

// sum[r] = start + values . x[r] over one sub-block.
template <int kSub, int kRows>
DURE_INLINE void dots(const Panel& panel, int b, const RowBlock& rows, const int32_t (*start)[16],
                      __m512i* sum) {
  constexpr int kSteps = kSub / 4;
  __m512i w[kSteps];
#pragma GCC unroll 8
  for (int i = 0; i < kSteps; ++i) w[i] = _mm512_load_si512(panel.values[b * kSteps + i]);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const int8_t* const x = rows.values[r] + b * kSub;
    __m512i a = _mm512_set1_epi32(start[r][b]);
#pragma GCC unroll 8
    for (int i = 0; i < kSteps; ++i) a = _mm512_dpbusd_epi32(a, w[i], broadcast(x + 4 * i));
    sum[r] = a;
  }
}

// Pairs of 16-bit sums of x, as dpwssd takes them.
template <int kSub>
DURE_INLINE void sum_pairs(const int16_t* sums, int32_t* out) {
  if constexpr (kSub == 16) {
    std::memcpy(out, sums, 32);
  } else {
    const __m256i eight = _mm512_castsi512_si256(sums_of<32>(sums));
    _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtepi32_epi16(eight));
  }
}

// y = fma(f32(sum), scales, y)
DURE_INLINE __m512 add_scaled(__m512i sum, __m512 scales, __m512 y) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scales, y);
}

template <int kSub, bool kMinima, int kRows>
DURE_INLINE void finish_whole(const Panel& panel, const RowBlock& rows, const __m512i* weighted) {
  constexpr int kPairs = kPanelElements / kSub / 2;
  const __m512 d = _mm512_load_ps(panel.d[0]);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const __m512 scale = _mm512_set1_ps(*rows.scales[r]);
    __m512 y = add_scaled(weighted[r], _mm512_mul_ps(d, scale), _mm512_loadu_ps(rows.y[r]));
    if constexpr (kMinima) {
      alignas(64) int32_t pairs[8];
      sum_pairs<kSub>(rows.sums[r], pairs);
      __m512i low = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int p = 0; p < kPairs; ++p)
        low = _mm512_dpwssd_epi32(low, _mm512_load_si512(panel.minima[p]),
                                  _mm512_set1_epi32(pairs[p]));
      const __m512 factor = _mm512_mul_ps(_mm512_load_ps(panel.low[0]), scale);
      y = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(low), factor, y);
    }
    _mm512_storeu_ps(rows.y[r], y);
  }
}

template <int kSub, bool kMinima, int kRows>
void multiply_whole(const IntegerFormat& format, const Panel& panel, int, const RowBlock& rows) {
  alignas(64) int32_t start[kRows][16];
  starts<kSub, kRows>(rows, format.offset, start);
  __m512i weighted[kRows], sum[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) weighted[r] = _mm512_setzero_si512();
  for (int b = 0; b < kPanelElements / kSub; ++b) {
    dots<kSub, kRows>(panel, b, rows, start, sum);
    const __m512i scale = _mm512_load_si512(panel.scales[b]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      weighted[r] = _mm512_add_epi32(weighted[r], _mm512_mullo_epi32(sum[r], scale));
  }
  finish_whole<kSub, kMinima, kRows>(panel, rows, weighted);
}

template <bool kMinima, int kRows>
void multiply_blocks(const IntegerFormat& format, const Panel& panel, int elements,
                     const RowBlock& rows) {
  alignas(64) int32_t start[kRows][16], x_sums[kRows][16];
  starts<32, kRows>(rows, format.offset, start);
  if (kMinima) starts<32, kRows>(rows, -1, x_sums);
  __m512 y[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) y[r] = _mm512_loadu_ps(rows.y[r]);
  for (int b = 0; b < elements / 32; ++b) {
    __m512i sum[kRows];
    dots<32, kRows>(panel, b, rows, start, sum);
    const __m512 d = _mm512_load_ps(panel.d[b]), low = _mm512_load_ps(panel.low[b]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 scale = _mm512_set1_ps(rows.scales[r][b]);
      y[r] = add_scaled(sum[r], _mm512_mul_ps(d, scale), y[r]);
      if (!kMinima) continue;
      const __m512 sums = _mm512_cvtepi32_ps(_mm512_set1_epi32(x_sums[r][b]));
      y[r] = _mm512_fnmadd_ps(sums, _mm512_mul_ps(low, scale), y[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(rows.y[r], y[r]);
}

template <int kRows>
void multiply_rows(const IntegerFormat& f, const Panel& panel, int elements, const RowBlock& rows) {
  if (f.elements == 32) {
    return f.minima ? multiply_blocks<true, kRows>(f, panel, elements, rows)
                    : multiply_blocks<false, kRows>(f, panel, elements, rows);
  }
  if (f.sub_block == 32) {
    return f.minima ? multiply_whole<32, true, kRows>(f, panel, elements, rows)
                    : multiply_whole<32, false, kRows>(f, panel, elements, rows);
  }
  return f.minima ? multiply_whole<16, true, kRows>(f, panel, elements, rows)
                  : multiply_whole<16, false, kRows>(f, panel, elements, rows);
}

void multiply(const IntegerFormat& f, const Panel& panel, int elements, const RowBlock& rows) {
  if (rows.count == 8) return multiply_rows<8>(f, panel, elements, rows);
  RowBlock rest = rows;
  if (rest.count >= 4) {
    multiply_rows<4>(f, panel, elements, rest);
    drop_rows(rest, 4);
  }
  if (rest.count >= 2) {
    multiply_rows<2>(f, panel, elements, rest);
    drop_rows(rest, 2);
  }
  if (rest.count == 1) multiply_rows<1>(f, panel, elements, rest);
}

double chains(int64_t rounds, int32_t* out) {
  constexpr int kChains = 12;
  __m512i sum[kChains], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-2);
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sum[i] = _mm512_set1_epi32(i);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
    asm volatile("" : "+v"(a), "+v"(b));
  }
#pragma GCC unroll 12
  for (int i = 1; i < kChains; ++i) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  *out = _mm512_reduce_add_epi32(sum[0]);
  return static_cast<double>(rounds) * kChains * 64 * 2;
}

// ---- unpack

using Words = __m512i;  // One of each column.

// Four by four blocks of 32 bits within each 128-bit lane of four registers.
DURE_INLINE void transpose4(__m512i& a, __m512i& b, __m512i& c, __m512i& d) {
  const __m512i ab0 = _mm512_unpacklo_epi32(a, b), ab1 = _mm512_unpackhi_epi32(a, b);
  const __m512i cd0 = _mm512_unpacklo_epi32(c, d), cd1 = _mm512_unpackhi_epi32(c, d);
  a = _mm512_unpacklo_epi64(ab0, cd0);
  b = _mm512_unpackhi_epi64(ab0, cd0);
  c = _mm512_unpacklo_epi64(ab1, cd1);
  d = _mm512_unpackhi_epi64(ab1, cd1);
}

// Four by four blocks of 128 bits.
DURE_INLINE void transpose_lanes(__m512i& a, __m512i& b, __m512i& c, __m512i& d) {
  const __m512i ab0 = _mm512_shuffle_i32x4(a, b, 0x44), ab1 = _mm512_shuffle_i32x4(a, b, 0xee);
  const __m512i cd0 = _mm512_shuffle_i32x4(c, d, 0x44), cd1 = _mm512_shuffle_i32x4(c, d, 0xee);
  a = _mm512_shuffle_i32x4(ab0, cd0, 0x88);
  b = _mm512_shuffle_i32x4(ab0, cd0, 0xdd);
  c = _mm512_shuffle_i32x4(ab1, cd1, 0x88);
  d = _mm512_shuffle_i32x4(ab1, cd1, 0xdd);
}

// t[r] of 16 rows becomes t[j]: word j of every row.
DURE_INLINE void transpose16(__m512i* t) {
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) transpose4(t[i], t[i + 1], t[i + 2], t[i + 3]);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) transpose_lanes(t[i], t[i + 4], t[i + 8], t[i + 12]);
  // Word j of the rows now stands at j % 4 + 4 * (j / 4), as it should.
}

// 64 bytes at `offset` of each row, as 16 words of every row.
DURE_INLINE void load_words(const PanelRows& rows, int64_t offset, __m512i* t) {
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) t[r] = _mm512_loadu_si512(rows.at[r] + offset);
  transpose16(t);
}

// 16 bytes at `offset` of each row, as four words of every row.
DURE_INLINE void load_header(const PanelRows& rows, int64_t offset, __m512i* t) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto at = [&](int r) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.at[r] + offset));
    };
    // Lanes: rows i, i + 4, i + 8, i + 12, so that transpose4 puts them in order.
    __m512i v = _mm512_castsi128_si512(at(i));
    v = _mm512_inserti32x4(v, at(i + 4), 1);
    v = _mm512_inserti32x4(v, at(i + 8), 2);
    t[i] = _mm512_inserti32x4(v, at(i + 12), 3);
  }
  transpose4(t[0], t[1], t[2], t[3]);
}

// 32 bytes at each of two offsets, as 16 words of every row.
DURE_INLINE void load_pairs(const PanelRows& rows, int64_t first, int64_t second, Words* t) {
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    const auto at = [&](int64_t offset) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows.at[r] + offset));
    };
    t[r] = _mm512_inserti64x4(_mm512_castsi256_si512(at(first)), at(second), 1);
  }
  transpose16(t);
}

// 16 bytes at four offsets, `stride` apart.
DURE_INLINE void load_quarters(const PanelRows& rows, int64_t offset, int64_t stride, Words* t) {
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    const auto at = [&](int64_t i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.at[r] + offset + i * stride));
    };
    __m512i v = _mm512_castsi128_si512(at(0));
    v = _mm512_inserti32x4(v, at(1), 1);
    v = _mm512_inserti32x4(v, at(2), 2);
    t[r] = _mm512_inserti32x4(v, at(3), 3);
  }
  transpose16(t);
}

DURE_INLINE Words all(int value) { return _mm512_set1_epi32(value); }
DURE_INLINE Words bits_of(Words w, int shift, int mask) {
  return _mm512_and_si512(_mm512_srli_epi32(w, static_cast<unsigned>(shift)), all(mask));
}
DURE_INLINE Words left(Words w, int shift) {
  return _mm512_slli_epi32(w, static_cast<unsigned>(shift));
}
DURE_INLINE Words either(Words a, Words b) { return _mm512_or_si512(a, b); }
DURE_INLINE Words exclusive(Words a, Words b) { return _mm512_xor_si512(a, b); }
DURE_INLINE Words minus(Words a, Words b) { return _mm512_sub_epi32(a, b); }
// table[byte] of every byte below 16.
DURE_INLINE Words look_up(const uint8_t* table, Words codes) {
  const __m128i t = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), codes);
}
DURE_INLINE void store(void* at, Words w) { _mm512_store_si512(at, w); }
DURE_INLINE void store_halves(float* at, Words words) {
  _mm512_store_ps(at, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)));
}
DURE_INLINE void store_halves(float* at, const uint16_t* bits) {
  _mm512_store_ps(at, _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(bits))));
}

#include "kernels/cpu/integer8_unpack-inl.h"

}  // namespace

const Integer8Body& integer8_vnni() {
  static constexpr Integer8Body body{unpack, multiply, chains};
  return body;
}

bool integer8_vnni_available() { return __builtin_cpu_supports("avx512vnni") != 0; }

}  // namespace dure::cpu
#pragma GCC pop_options
#else
namespace dure::cpu {
const Integer8Body& integer8_vnni() { return integer8_generic(); }
bool integer8_vnni_available() { return false; }
}  // namespace dure::cpu
#endif
