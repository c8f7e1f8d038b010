// Products with very few rows of x, stored row by stored row, AVX-512 with VNNI: a register for 64
// values of k. What is left to it: types whose turning (integer8_turned_vnni.cc) is dear.
#include "kernels/cpu/integer8_panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "kernels/block_codebooks.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")

namespace dure::cpu {
namespace {

#include "kernels/cpu/transpose_avx512-inl.h"

// ---- 64 values

using Bytes = __m512i;

DURE_INLINE Bytes load64(const void* at) { return _mm512_loadu_si512(at); }
DURE_INLINE __m256i half_at(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}
DURE_INLINE __m128i quarter_at(const void* at) {
  return _mm_loadu_si128(static_cast<const __m128i*>(at));
}
DURE_INLINE Bytes join(const void* low, const void* high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(half_at(low)), half_at(high), 1);
}
DURE_INLINE Bytes twice(const void* at) { return _mm512_broadcast_i64x4(half_at(at)); }
// 16 bytes twice, then 16 others twice.
DURE_INLINE Bytes sixteen(const void* low, const void* high) {
  return _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(quarter_at(low)), 0xff00,
                                     quarter_at(high));
}

// Every byte moved down by a in the lower half, b in the upper; bits that leave a byte are for the
// mask to drop.
DURE_INLINE Bytes moved(Bytes v, int a, int b) {
  if (a == 0 && b == 0) return v;
  return _mm512_rorv_epi64(v, _mm512_set_epi64(b, b, b, b, a, a, a, a));
}
DURE_INLINE Bytes bits(Bytes v, int a, int b, int mask) {
  return _mm512_and_si512(moved(v, a, b), _mm512_set1_epi8(static_cast<char>(mask)));
}
// low | bits(v, a, b, mask)
DURE_INLINE Bytes with_bits(Bytes low, Bytes v, int a, int b, int mask) {
  return _mm512_ternarylogic_epi64(low, moved(v, a, b), _mm512_set1_epi8(static_cast<char>(mask)),
                                   0xf8);
}
DURE_INLINE Bytes nibbles(Bytes sixteens) {
  const __m512i down = _mm512_srlv_epi64(sixteens, _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0));
  return _mm512_and_si512(down, _mm512_set1_epi8(15));
}
DURE_INLINE Bytes fifth(Bytes low, uint32_t a, uint32_t b) {
  return _mm512_mask_add_epi8(low, a | uint64_t{b} << 32, low, _mm512_set1_epi8(16));
}

// Wide types are stored 128 above their signed values: the instruction's left side is unsigned.
constexpr int kWideShift = 7;
DURE_INLINE Bytes from_signed(Bytes v) { return _mm512_xor_si512(v, _mm512_set1_epi8(-128)); }
DURE_INLINE Bytes levels(Bytes codes) {
  const __m512i table = _mm512_broadcast_i32x4(quarter_at(kLevels4.data()));
  return _mm512_shuffle_epi8(from_signed(table), codes);
}

// ---- sums

using Lanes = __m512i;
using BlockLanes = __m512i;  // of two blocks of 32

DURE_INLINE Lanes zero_lanes() { return _mm512_setzero_si512(); }
DURE_INLINE __m256i fold(Lanes a, Lanes b) {
  const __m512i sums = _mm512_add_epi32(a, b);
  return _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
}

// The scales of values [64 c, 64 c + 64): words, or for wide types double words.
template <bool kWide>
DURE_INLINE Bytes spread(__m256i scales, int c) {
  if constexpr (kWide) {
    const __m512i index =
        _mm512_inserti64x4(_mm512_set1_epi32(2 * c), _mm256_set1_epi32(2 * c + 1), 1);
    return _mm512_permutexvar_epi32(index, _mm512_castsi256_si512(_mm256_srai_epi32(scales, 16)));
  }
  const int first = 4 * c * 0x10001;
  const __m512i index = _mm512_set_epi32(
      first + 0x30003, first + 0x30003, first + 0x30003, first + 0x30003, first + 0x20002,
      first + 0x20002, first + 0x20002, first + 0x20002, first + 0x10001, first + 0x10001,
      first + 0x10001, first + 0x10001, first, first, first, first);
  return _mm512_permutexvar_epi16(index, _mm512_castsi256_si512(scales));
}

// sums += scales * (values . x), lane by lane. Narrow: pairs of products in 16 bits, stored values
// up to 63.
template <bool kWide>
DURE_INLINE Lanes add_dots(Lanes sums, Bytes values, Bytes x, Bytes scales) {
  if constexpr (!kWide) return _mm512_dpwssd_epi32(sums, _mm512_maddubs_epi16(values, x), scales);
  const __m512i dots = _mm512_dpbusd_epi32(_mm512_setzero_si512(), values, x);
  return _mm512_add_epi32(sums, _mm512_mullo_epi32(dots, scales));
}
template <bool>
DURE_INLINE BlockLanes block_dots(Bytes values, Bytes x) {
  return _mm512_dpbusd_epi32(_mm512_setzero_si512(), values, x);
}

// The sums of eight blocks of 32, in order.
DURE_INLINE __m256i eight_sums(const BlockLanes* v) {
  const __m512i ab =
      _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i cd =
      _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i lanes =
      _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m512i both = _mm512_add_epi32(lanes, _mm512_shuffle_i32x4(lanes, lanes, 0xb1));
  const __m128i even = _mm512_castsi512_si128(both), odd = _mm512_extracti32x4_epi32(both, 2);
  return _mm256_set_m128i(_mm_unpackhi_epi32(even, odd), _mm_unpacklo_epi32(even, odd));
}

// ---- columns

constexpr int kWidth = 16;
using Words = __m512i;
using Floats = __m512;

DURE_INLINE void turn(const void* words, int64_t stride, Words* t) {
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) t[r] = load64(static_cast<const int32_t*>(words) + r * stride);
  transpose16(t);
}
DURE_INLINE Floats low_halves(Words words) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)); }
DURE_INLINE Floats high_halves(Words words) { return low_halves(_mm512_srli_epi32(words, 16)); }
DURE_INLINE Floats to_floats(Words words) { return _mm512_cvtepi32_ps(words); }
DURE_INLINE Floats all_floats(float value) { return _mm512_set1_ps(value); }
DURE_INLINE Floats times(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
DURE_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
DURE_INLINE Floats minus_fma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
DURE_INLINE void store_floats(float* at, Floats v) { _mm512_storeu_ps(at, v); }

#include "kernels/cpu/integer8_few-inl.h"

}  // namespace

void few_q6_k_by_row_vnni(const FewTile& tile) { run<Whole<Q6K>>(tile); }

}  // namespace dure::cpu
#pragma GCC pop_options
#else
namespace dure::cpu {
void few_q6_k_by_row_vnni(const FewTile&) {}
}  // namespace dure::cpu
#endif
