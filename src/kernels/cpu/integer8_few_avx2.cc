// Products with very few rows of x, AVX2: two registers for 64 values of k.
#include "kernels/cpu/integer8_panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "kernels/block_codebooks.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace dure::cpu {
namespace {

#include "kernels/cpu/transpose_avx2-inl.h"

// ---- 64 values

struct Bytes {
  __m256i low, high;
};

DURE_INLINE __m256i half_at(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}
DURE_INLINE __m256i quarter_twice(const void* at) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(at)));
}
DURE_INLINE Bytes join(const void* low, const void* high) { return {half_at(low), half_at(high)}; }
DURE_INLINE Bytes load64(const void* at) { return join(at, static_cast<const char*>(at) + 32); }
DURE_INLINE Bytes twice(const void* at) { return {half_at(at), half_at(at)}; }
// 16 bytes twice, then 16 others twice.
DURE_INLINE Bytes sixteen(const void* low, const void* high) {
  return {quarter_twice(low), quarter_twice(high)};
}

// Every byte moved down by `count`; bits that leave it are for the mask to drop.
DURE_INLINE __m256i moved(__m256i v, int count) {
  return count >= 0 ? _mm256_srli_epi16(v, count) : _mm256_slli_epi16(v, -count);
}
DURE_INLINE Bytes bits(Bytes v, int a, int b, int mask) {
  const __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
  return {_mm256_and_si256(moved(v.low, a), m), _mm256_and_si256(moved(v.high, b), m)};
}
// low | bits(v, a, b, mask)
DURE_INLINE Bytes with_bits(Bytes low, Bytes v, int a, int b, int mask) {
  const Bytes more = bits(v, a, b, mask);
  return {_mm256_or_si256(low.low, more.low), _mm256_or_si256(low.high, more.high)};
}
DURE_INLINE Bytes nibbles(Bytes sixteens) {
  const __m256i down = _mm256_setr_epi64x(0, 0, 4, 4), mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(_mm256_srlv_epi64(sixteens.low, down), mask),
          _mm256_and_si256(_mm256_srlv_epi64(sixteens.high, down), mask)};
}
// 16 in every byte whose bit is set.
DURE_INLINE __m256i sixteens_of(uint32_t set) {
  const __m256i from =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i all = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(set)), from);
  const __m256i on = _mm256_cmpeq_epi8(_mm256_and_si256(all, bit), bit);
  return _mm256_and_si256(on, _mm256_set1_epi8(16));
}
DURE_INLINE Bytes fifth(Bytes low, uint32_t a, uint32_t b) {
  return {_mm256_or_si256(low.low, sixteens_of(a)), _mm256_or_si256(low.high, sixteens_of(b))};
}

// Wide types are signed values: sums of pairs would not fit 16 bits otherwise.
constexpr int kWideShift = -1;
DURE_INLINE Bytes from_signed(Bytes v) { return v; }
DURE_INLINE Bytes levels(Bytes codes) {
  const __m256i table = quarter_twice(kLevels4.data());
  return {_mm256_shuffle_epi8(table, codes.low), _mm256_shuffle_epi8(table, codes.high)};
}

// ---- sums

using Lanes = __m256i;
struct BlockLanes {  // of a block of 32 each
  __m256i low, high;
};

DURE_INLINE Lanes zero_lanes() { return _mm256_setzero_si256(); }
DURE_INLINE __m256i fold(Lanes a, Lanes b) { return _mm256_add_epi32(a, b); }

// The scales of values [64 c, 64 c + 64), words.
template <bool>
DURE_INLINE Bytes spread(__m256i scales, int c) {
  const __m256i eight = c < 2 ? _mm256_permute2x128_si256(scales, scales, 0x00)
                              : _mm256_permute2x128_si256(scales, scales, 0x11);
  const int64_t two = 0x0202020202020202, first = 0x0100010001000100 + (c % 2 * 4) * two;
  const __m256i low = _mm256_setr_epi64x(first, first, first + two, first + two);
  const __m256i high = _mm256_add_epi8(low, _mm256_set1_epi8(4));
  return {_mm256_shuffle_epi8(eight, low), _mm256_shuffle_epi8(eight, high)};
}

// Products of neighbours and their sum: values up to 63, or |values| up to 128.
template <bool kWide>
DURE_INLINE __m256i pairs(__m256i values, __m256i x) {
  if constexpr (!kWide) return _mm256_maddubs_epi16(values, x);
  return _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(x, values));
}

// sums += scales * (values . x), lane by lane.
template <bool kWide>
DURE_INLINE Lanes add_dots(Lanes sums, Bytes values, Bytes x, Bytes scales) {
  const __m256i low = _mm256_madd_epi16(pairs<kWide>(values.low, x.low), scales.low);
  const __m256i high = _mm256_madd_epi16(pairs<kWide>(values.high, x.high), scales.high);
  return _mm256_add_epi32(sums, _mm256_add_epi32(low, high));
}
template <bool kWide>
DURE_INLINE BlockLanes block_dots(Bytes values, Bytes x) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(pairs<kWide>(values.low, x.low), ones),
          _mm256_madd_epi16(pairs<kWide>(values.high, x.high), ones)};
}

DURE_INLINE __m256i add_words(__m256i a, __m256i b) {
  return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}
DURE_INLINE __m256i add_pairs(__m256i a, __m256i b) {
  return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
// The sums of eight blocks of 32, in order.
DURE_INLINE __m256i eight_sums(const BlockLanes* v) {
  const __m256i four = add_pairs(add_words(v[0].low, v[0].high), add_words(v[1].low, v[1].high));
  const __m256i rest = add_pairs(add_words(v[2].low, v[2].high), add_words(v[3].low, v[3].high));
  return _mm256_add_epi32(_mm256_permute2x128_si256(four, rest, 0x20),
                          _mm256_permute2x128_si256(four, rest, 0x31));
}

// ---- columns

constexpr int kWidth = 8;
using Words = __m256i;
using Floats = __m256;

DURE_INLINE void turn(const void* words, int64_t stride, Words* t) {
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) t[r] = half_at(static_cast<const int32_t*>(words) + r * stride);
  transpose8(t);
}
// From words below 2^16.
DURE_INLINE Floats from_halves(Words words) {
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}
DURE_INLINE Floats low_halves(Words words) {
  return from_halves(_mm256_and_si256(words, _mm256_set1_epi32(0xffff)));
}
DURE_INLINE Floats high_halves(Words words) { return from_halves(_mm256_srli_epi32(words, 16)); }
DURE_INLINE Floats to_floats(Words words) { return _mm256_cvtepi32_ps(words); }
DURE_INLINE Floats all_floats(float value) { return _mm256_set1_ps(value); }
DURE_INLINE Floats times(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
DURE_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
DURE_INLINE Floats minus_fma(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }
DURE_INLINE void store_floats(float* at, Floats v) { _mm256_storeu_ps(at, v); }

#include "kernels/cpu/integer8_few-inl.h"

}  // namespace

// By measurement (bench_integer8, 1 to 12 rows).
int few_rows_avx2(DType dtype) {
  return dtype == DType::kMXFP4 ? 0 : dtype == DType::kQ6_K ? 8 : kFewRows;
}
void few_avx2(DType dtype, const FewTile& tile) {
  switch (dtype) {
    case DType::kQ4_0:
      return run<Blocks<Q40>>(tile);
    case DType::kQ4_1:
      return run<Blocks<Q41>>(tile);
    case DType::kQ5_0:
      return run<Blocks<Q50>>(tile);
    case DType::kQ5_1:
      return run<Blocks<Q51>>(tile);
    case DType::kQ8_0:
      return run<Blocks<Q80>>(tile);
    case DType::kIQ4_NL:
      return run<Blocks<IQ4NL>>(tile);
    case DType::kQ2_K:
      return run<Whole<Q2K>>(tile);
    case DType::kQ3_K:
      return run<Whole<Q3K>>(tile);
    case DType::kQ4_K:
      return run<Whole<Q4K>>(tile);
    case DType::kQ5_K:
      return run<Whole<Q5K>>(tile);
    case DType::kQ6_K:
      return run<Whole<Q6K>>(tile);
    case DType::kIQ4_XS:
      return run<Whole<IQ4XS>>(tile);
    default:
      return;
  }
}

}  // namespace dure::cpu
#pragma GCC pop_options
#else
namespace dure::cpu {
int few_rows_avx2(DType) { return 0; }
void few_avx2(DType, const FewTile&) {}
}  // namespace dure::cpu
#endif
