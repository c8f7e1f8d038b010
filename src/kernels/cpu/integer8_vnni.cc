// Panels with AVX-512 and VNNI: four products and their sum an instruction and lane, 16 columns a
// register. The types people use are taken apart in registers (a transposition of 16 rows); the
// others by unpack_generic().
#include "kernels/cpu/integer8_panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cstring>

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 misreads its own undefined() intrinsics.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")

namespace dure::cpu {
namespace {

#define DURE_LAMBDA_INLINE __attribute__((always_inline))

#include "kernels/cpu/integer8_words_avx512-inl.h"

// ---- multiply

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

// Sums of both panels of a tile for each row.
template <int kRows>
struct Sums {
  __m512i of[kTilePanels][kRows];
};

// start (0 where it is null) + values . x over one sub-block.
template <int kSub, int kRows>
DURE_INLINE void dots(const Panel* tile, int b, const RowBlock& rows, const int32_t (*start)[16],
                      Sums<kRows>& sums) {
  constexpr int kSteps = kSub / 4;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const __m512i first =
        start == nullptr ? _mm512_setzero_si512() : _mm512_set1_epi32(start[r][b]);
    sums.of[0][r] = sums.of[1][r] = first;
  }
  // From 0 on, so that the compiler sees how many: it unrolls all of them then.
  const auto* const first = tile[0].values + b * kSteps;
  const auto* const second = tile[1].values + b * kSteps;
#pragma GCC unroll 8
  for (int i = 0; i < kSteps; ++i) {
    const __m512i w0 = _mm512_load_si512(first[i]);
    const __m512i w1 = _mm512_load_si512(second[i]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512i x = broadcast(rows.values[r] + 4 * (b * kSteps + i));
      sums.of[0][r] = _mm512_dpbusd_epi32(sums.of[0][r], w0, x);
      sums.of[1][r] = _mm512_dpbusd_epi32(sums.of[1][r], w1, x);
    }
  }
}

// y = fma(f32(sum), scales, y)
DURE_INLINE __m512 add_scaled(__m512i sum, __m512 scales, __m512 y) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scales, y);
}

// Sums over the sub-blocks of minima * (sum of x), of every row's pairs.
template <int kSub, int kRows>
DURE_INLINE void minima_sums(const Panel* tile, const int32_t (*pairs)[8], Sums<kRows>& low) {
  constexpr int kPairs = kPanelElements / kSub / 2;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) low.of[0][r] = low.of[1][r] = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int p = 0; p < kPairs; ++p) {
    const __m512i first = _mm512_load_si512(tile[0].minima[p]);
    const __m512i second = _mm512_load_si512(tile[1].minima[p]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512i x = _mm512_set1_epi32(pairs[r][p]);
      low.of[0][r] = _mm512_dpwssd_epi32(low.of[0][r], first, x);
      low.of[1][r] = _mm512_dpwssd_epi32(low.of[1][r], second, x);
    }
  }
}

// y += d * scale * weighted, for both panels of every row; y -= low * scale * minima likewise.
template <int kRows>
DURE_INLINE void add_weighted(const Panel* tile, const Sums<kRows>& weighted,
                              const RowBlock& rows) {
#pragma GCC unroll 2
  for (int p = 0; p < kTilePanels; ++p) {
    const __m512 d = _mm512_load_ps(tile[p].d[0]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      float* const y = rows.y[r] + p * kPanelColumns;
      const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(*rows.scales[r]));
      _mm512_storeu_ps(y, add_scaled(weighted.of[p][r], scale, _mm512_loadu_ps(y)));
    }
  }
}

template <int kRows>
DURE_INLINE void subtract_minima(const Panel* tile, const Sums<kRows>& low, const RowBlock& rows) {
#pragma GCC unroll 2
  for (int p = 0; p < kTilePanels; ++p) {
    const __m512 of_column = _mm512_load_ps(tile[p].low[0]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      float* const y = rows.y[r] + p * kPanelColumns;
      const __m512 scale = _mm512_mul_ps(of_column, _mm512_set1_ps(*rows.scales[r]));
      const __m512 sum = _mm512_cvtepi32_ps(low.of[p][r]);
      _mm512_storeu_ps(y, _mm512_fnmadd_ps(sum, scale, _mm512_loadu_ps(y)));
    }
  }
}

template <int kSub, bool kMinima, int kRows>
void multiply_whole(const IntegerFormat& format, const Panel* tile, int, const RowBlock& rows) {
  alignas(64) int32_t starts_of[kRows][16];
  if constexpr (!kMinima) starts<kSub, kRows>(rows, format.offset, starts_of);
  const auto* const start = kMinima ? nullptr : starts_of;  // Types with minima have no offset.
  // Written long before they are read, one by one: a store just before would be waited for.
  alignas(64) int32_t pairs[kRows][8];
  if constexpr (kMinima) {
    for (int r = 0; r < kRows; ++r) sum_pairs<kSub>(rows.sums[r], pairs[r]);
  }
  Sums<kRows> weighted, sums;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) weighted.of[0][r] = weighted.of[1][r] = _mm512_setzero_si512();
#pragma GCC unroll 1
  for (int b = 0; b < kPanelElements / kSub; ++b) {
    dots<kSub, kRows>(tile, b, rows, start, sums);
#pragma GCC unroll 2
    for (int p = 0; p < kTilePanels; ++p) {
      const __m512i scale = _mm512_load_si512(tile[p].scales[b]);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        weighted.of[p][r] =
            _mm512_add_epi32(weighted.of[p][r], _mm512_mullo_epi32(sums.of[p][r], scale));
    }
  }
  add_weighted<kRows>(tile, weighted, rows);
  if constexpr (kMinima) {
    minima_sums<kSub, kRows>(tile, pairs, sums);
    subtract_minima<kRows>(tile, sums, rows);
  }
}

template <bool kMinima, int kRows>
void multiply_blocks(const IntegerFormat& format, const Panel* tile, int elements,
                     const RowBlock& rows) {
  alignas(64) int32_t start[kRows][16], x_sums[kRows][16];
  starts<32, kRows>(rows, format.offset, start);
  if (kMinima) starts<32, kRows>(rows, -1, x_sums);
  // A copy, so that the loop keeps a pointer to each row's values and no more.
  alignas(64) float scales[kRows][8];
  for (int r = 0; r < kRows; ++r) std::memcpy(scales[r], rows.scales[r], sizeof(scales[r]));
  __m512 y[kTilePanels][kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    y[0][r] = _mm512_loadu_ps(rows.y[r]);
    y[1][r] = _mm512_loadu_ps(rows.y[r] + kPanelColumns);
  }
#pragma GCC unroll 1
  for (int b = 0; b < elements / 32; ++b) {
    Sums<kRows> sums;
    dots<32, kRows>(tile, b, rows, start, sums);
#pragma GCC unroll 2
    for (int p = 0; p < kTilePanels; ++p) {
      const __m512 d = _mm512_load_ps(tile[p].d[b]), low = _mm512_load_ps(tile[p].low[b]);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512 scale = _mm512_set1_ps(scales[r][b]);
        y[p][r] = add_scaled(sums.of[p][r], _mm512_mul_ps(d, scale), y[p][r]);
        if (!kMinima) continue;
        const __m512 x = _mm512_cvtepi32_ps(_mm512_set1_epi32(x_sums[r][b]));
        y[p][r] = _mm512_fnmadd_ps(x, _mm512_mul_ps(low, scale), y[p][r]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(rows.y[r], y[0][r]);
    _mm512_storeu_ps(rows.y[r] + kPanelColumns, y[1][r]);
  }
}

// Six rows and two panels fill the registers: 12 sums, as many weighted ones, weights, x. Types of
// 32 elements do better with four.
constexpr int kWholeRowsMax = 6, kBlocksRowsMax = 4;

template <int kRows>
void multiply_rows(const IntegerFormat& f, const Panel* tile, int elements, const RowBlock& rows) {
  if constexpr (kRows <= kBlocksRowsMax) {
    if (f.elements == 32) {
      return f.minima ? multiply_blocks<true, kRows>(f, tile, elements, rows)
                      : multiply_blocks<false, kRows>(f, tile, elements, rows);
    }
  }
  if (f.sub_block == 32) {
    return f.minima ? multiply_whole<32, true, kRows>(f, tile, elements, rows)
                    : multiply_whole<32, false, kRows>(f, tile, elements, rows);
  }
  return f.minima ? multiply_whole<16, true, kRows>(f, tile, elements, rows)
                  : multiply_whole<16, false, kRows>(f, tile, elements, rows);
}

void multiply_piece(const IntegerFormat& f, const Panel* tile, int elements, const RowBlock& rows) {
  switch (rows.count) {
    case 1:
      return multiply_rows<1>(f, tile, elements, rows);
    case 2:
      return multiply_rows<2>(f, tile, elements, rows);
    case 3:
      return multiply_rows<3>(f, tile, elements, rows);
    case 4:
      return multiply_rows<4>(f, tile, elements, rows);
    case 5:
      return multiply_rows<5>(f, tile, elements, rows);
    default:
      return multiply_rows<6>(f, tile, elements, rows);
  }
}

// Pieces of nearly the same size: one row alone waits for itself.
void multiply(const IntegerFormat& f, const Panel* tile, int elements, const RowBlock& rows) {
  const int most = f.elements == 32 ? kBlocksRowsMax : kWholeRowsMax;
  RowBlock rest = rows;
  for (int pieces = (rows.count + most - 1) / most; pieces > 0; --pieces) {
    RowBlock piece = rest;
    piece.count = (rest.count + pieces - 1) / pieces;
    multiply_piece(f, tile, elements, piece);
    drop_rows(rest, piece.count);
  }
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

// After the words it is written in:
#include "kernels/cpu/integer8_unpack-inl.h"

}  // namespace

const Integer8Body& integer8_vnni() {
  static constexpr Integer8Body body{unpack, multiply, few_rows_vnni, few_vnni, chains};
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
