// kernels/cpu/transpose_avx2-inl.h: 8 x 8 words turned in registers; included inside the namespace
// of a file that is compiled for AVX2.
#pragma once

#define DURE_INLINE inline __attribute__((always_inline))

// t[r] of 8 rows becomes t[j]: word j of every row.
DURE_INLINE void transpose8(__m256i* t) {
  __m256i a[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    const __m256i ab0 = _mm256_unpacklo_epi32(t[i], t[i + 1]),
                  ab1 = _mm256_unpackhi_epi32(t[i], t[i + 1]);
    const __m256i cd0 = _mm256_unpacklo_epi32(t[i + 2], t[i + 3]),
                  cd1 = _mm256_unpackhi_epi32(t[i + 2], t[i + 3]);
    a[i] = _mm256_unpacklo_epi64(ab0, cd0);
    a[i + 1] = _mm256_unpackhi_epi64(ab0, cd0);
    a[i + 2] = _mm256_unpacklo_epi64(ab1, cd1);
    a[i + 3] = _mm256_unpackhi_epi64(ab1, cd1);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2x128_si256(a[i], a[i + 4], 0x20);
    t[i + 4] = _mm256_permute2x128_si256(a[i], a[i + 4], 0x31);
  }
}
