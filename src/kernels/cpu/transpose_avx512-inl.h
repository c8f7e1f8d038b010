// kernels/cpu/transpose_avx512-inl.h: 16 x 16 words turned in registers; included inside the
// namespace of a file that is compiled for AVX-512.
#pragma once

#define DURE_INLINE inline __attribute__((always_inline))

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
