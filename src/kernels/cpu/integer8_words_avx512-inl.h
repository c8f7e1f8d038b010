// kernels/cpu/integer8_words_avx512-inl.h: what integer8_unpack-inl.h asks for, in registers of 16
// columns, and the sums of x that products of any shape start from; included before it, inside the
// namespace of a file that is compiled for AVX-512.
#pragma once

#include "kernels/cpu/transpose_avx512-inl.h"

using Words = __m512i;  // One of each column.

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
  if (shift > 0) w = _mm512_srli_epi32(w, static_cast<unsigned>(shift));
  return shift + std::popcount(static_cast<unsigned>(mask)) == 32 ? w
                                                                  : _mm512_and_si512(w, all(mask));
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

// Sums of 16 values of x as 16 lanes, or of 32 in the lower eight.
template <int kSub>
DURE_INLINE __m512i sums_of(const int16_t* sums) {
  const __m256i sixteen = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
  if constexpr (kSub == 16) return _mm512_cvtepi16_epi32(sixteen);
  return _mm512_zextsi256_si512(_mm256_madd_epi16(sixteen, _mm256_set1_epi16(1)));
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
