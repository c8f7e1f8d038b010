// Panels with the tiles of AMX: 16 rows of x by 16 columns by 64 elements an instruction, which
// would be wasted if its sums had to be scaled every 32 elements. So the integer scales of a type
// of 256 are multiplied into its values first, once a panel: the products take two bytes, each a
// plane, and tiles sum whole panels. (Types of 32 have an f32 scale every 32 elements: their tiles
// are half as deep.) All sums are exact, so the bits are those of the other bodies. What tiles
// leave is scaled with AVX-512, while the next tiles are busy.
#include "kernels/cpu/integer8_panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")

namespace dure::cpu {
namespace {

constexpr int kLines = kPanelElements / 4;
constexpr int kTileLines = kTileRows;  // of a tile of weights: 64 elements
constexpr int kBlockLines = 8;         // of a block of 32
constexpr int kRowsMax = 2 * kTileRows;

using TileSums = int32_t[kTileRows][kPanelColumns];

// ---- planes

inline __m512i line(const void* at) { return _mm512_load_si512(at); }
inline __m512i twice(__m512i halves) {  // The lower half of each word in both.
  return _mm512_or_si512(_mm512_and_si512(halves, _mm512_set1_epi32(0xffff)),
                         _mm512_slli_epi32(halves, 16));
}

// Values up to 31, scales of six bits, no offset: values times the lower three bits of the scale,
// and times the upper three. Products stay below 256, so those of neighbouring bytes do not meet.
constexpr int kThreeBits = 3;
void fold_three_bits(int sub_block, Panel& panel) {
  const int lines = sub_block / 4;
  for (int b = 0; b < kLines / lines; ++b) {
    const __m512i scale = line(panel.scales[b]);
    const __m512i low = twice(_mm512_and_si512(scale, _mm512_set1_epi32(7)));
    const __m512i high = twice(_mm512_srli_epi32(scale, kThreeBits));
    for (int i = b * lines; i < (b + 1) * lines; ++i) {
      const __m512i values = line(panel.values[i]);
      _mm512_store_si512(panel.values[i], _mm512_mullo_epi16(values, low));
      _mm512_store_si512(panel.high[i], _mm512_mullo_epi16(values, high));
    }
  }
}

// a where the mask has ones, or b.
inline __m512i blend(__m512i a, __m512i b, __m512i mask) {
  return _mm512_ternarylogic_epi32(a, b, mask, 0xec);
}

// Any values and scales: (value - offset) * scale in 16 bits, its lower byte and its upper one,
// which has the sign.
void fold_bytes(int sub_block, int offset, Panel& panel) {
  const int lines = sub_block / 4;
  const __m512i even_bytes = _mm512_set1_epi16(0xff);
  const __m512i odd_bytes = _mm512_set1_epi16(static_cast<int16_t>(0xff00));
  for (int b = 0; b < kLines / lines; ++b) {
    const __m512i scale = twice(line(panel.scales[b]));
    const __m512i start =
        _mm512_mullo_epi16(scale, _mm512_set1_epi16(static_cast<int16_t>(offset)));
    for (int i = b * lines; i < (b + 1) * lines; ++i) {
      const __m512i values = line(panel.values[i]);
      const __m512i even =
          _mm512_sub_epi16(_mm512_mullo_epi16(_mm512_and_si512(values, even_bytes), scale), start);
      const __m512i odd =
          _mm512_sub_epi16(_mm512_mullo_epi16(_mm512_srli_epi16(values, 8), scale), start);
      _mm512_store_si512(panel.values[i], blend(even, _mm512_slli_epi16(odd, 8), even_bytes));
      _mm512_store_si512(panel.high[i], blend(odd, _mm512_srli_epi16(even, 8), odd_bytes));
    }
  }
}

// Types of 32: values with their sign.
void take_offset(int offset, int elements, Panel& panel) {
  const __m512i minus = _mm512_set1_epi8(static_cast<int8_t>(offset));
  for (int i = 0; i < elements / 4; ++i)
    _mm512_store_si512(panel.values[i], _mm512_sub_epi8(line(panel.values[i]), minus));
}

void unpack(DType dtype, const PanelRows& rows, int elements, Panel& panel) {
  integer8_vnni().unpack(dtype, rows, elements, panel);
  const IntegerFormat& f = *integer_format(dtype);
  if (f.elements == 32) return take_offset(f.offset, elements, panel);
  if (f.minima) return fold_three_bits(f.sub_block, panel);
  fold_bytes(f.sub_block, f.offset, panel);
}

// ---- tiles: sums in 0 to 3, x in 4 and 5, weights in 6 and 7

const TileConfig& tile_config(const IntegerFormat& f) {
  static constexpr TileConfig kWhole = whole_tiles();
  static constexpr TileConfig kBlocks =
      whole_tiles().set(4, 16, 32).set(5, 16, 32).set(6, 8, 64).set(7, 8, 64);
  return f.elements == 32 ? kBlocks : kWhole;
}

// Sums of the lower plane and the upper one for each of two tiles of rows.
struct PlaneSums {
  alignas(64) TileSums low[2], high[2];
};

template <bool kSigned, int kC, int kA, typename Tiles>
void dot_high(Tiles& t) {
  if constexpr (kSigned)
    t.template dot_signed<kC, kA, 7>();
  else
    t.template dot_signed_unsigned<kC, kA, 7>();
}

// One panel of a type of 256 by two tiles of rows; between(step) runs after each of the four steps.
template <typename Tiles, bool kHighSigned, typename Between>
void dot_planes(Tiles& t, const Panel& panel, const int8_t* x, PlaneSums& sums, Between between) {
  t.template zero<0>();
  t.template zero<1>();
  t.template zero<2>();
  t.template zero<3>();
  for (int step = 0; step < kPanelElements / 64; ++step) {
    t.template load<4>(x + 64 * step, kPanelElements);
    t.template load<6>(panel.values[kTileLines * step], kTileRowBytes);
    t.template load<7>(panel.high[kTileLines * step], kTileRowBytes);
    t.template load<5>(x + kTileRows * kPanelElements + 64 * step, kPanelElements);
    t.template dot_signed_unsigned<0, 4, 6>();
    dot_high<kHighSigned, 1, 4>(t);
    t.template dot_signed_unsigned<2, 5, 6>();
    dot_high<kHighSigned, 3, 5>(t);
    between(step);
  }
  t.template store<0>(sums.low[0], kTileRowBytes);
  t.template store<1>(sums.high[0], kTileRowBytes);
  t.template store<2>(sums.low[1], kTileRowBytes);
  t.template store<3>(sums.high[1], kTileRowBytes);
}

// Both panels of a tile by one tile of rows.
template <typename Tiles, bool kHighSigned>
void dot_both(Tiles& t, const Panel* tile, const int8_t* x, PlaneSums* sums) {
  t.template zero<0>();
  t.template zero<1>();
  t.template zero<2>();
  t.template zero<3>();
  for (int step = 0; step < kPanelElements / 64; ++step) {
    const int first = kTileLines * step;
    t.template load<4>(x + 64 * step, kPanelElements);
    t.template load<6>(tile[0].values[first], kTileRowBytes);
    t.template load<7>(tile[0].high[first], kTileRowBytes);
    t.template dot_signed_unsigned<0, 4, 6>();
    dot_high<kHighSigned, 1, 4>(t);
    t.template load<6>(tile[1].values[first], kTileRowBytes);
    t.template load<7>(tile[1].high[first], kTileRowBytes);
    t.template dot_signed_unsigned<2, 4, 6>();
    dot_high<kHighSigned, 3, 4>(t);
  }
  t.template store<0>(sums[0].low[0], kTileRowBytes);
  t.template store<1>(sums[0].high[0], kTileRowBytes);
  t.template store<2>(sums[1].low[0], kTileRowBytes);
  t.template store<3>(sums[1].high[0], kTileRowBytes);
}

// ---- scales of types of 256

// Sums of x over pairs of sub-blocks, as dpwssd takes them.
struct Pairs {
  int32_t of[kRowsMax][8];
};

template <int kSub>
void sum_pairs(const RowBlock& rows, Pairs& pairs) {
  for (int r = 0; r < rows.count; ++r) {
    if constexpr (kSub == 16) {
      std::memcpy(pairs.of[r], rows.sums[r], 32);
    } else {
      const __m256i sixteen = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows.sums[r]));
      const __m256i eight = _mm256_madd_epi16(sixteen, _mm256_set1_epi16(1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(pairs.of[r]), _mm256_cvtepi32_epi16(eight));
    }
  }
}

// A panel's scales, which stay in registers over many rows.
template <int kSub, bool kMinima>
struct Scales {
  static constexpr int kPairs = kPanelElements / kSub / 2;
  static constexpr int kHighShift = kMinima ? kThreeBits : 8;
  __m512 d, low;
  __m512i minima[kPairs];

  explicit Scales(const Panel& panel) {
    d = _mm512_load_ps(panel.d[0]);
    if constexpr (!kMinima) return;
    low = _mm512_load_ps(panel.low[0]);
#pragma GCC unroll 8
    for (int p = 0; p < kPairs; ++p) minima[p] = line(panel.minima[p]);
  }

  // y += the planes' sums of one row of x, as arithmetic.h orders it.
  void add(const int32_t* low_sums, const int32_t* high_sums, float scale, const int32_t* pairs,
           float* y) const {
    const __m512 s = _mm512_set1_ps(scale);
    const __m512i weighted =
        _mm512_add_epi32(line(low_sums), _mm512_slli_epi32(line(high_sums), kHighShift));
    __m512 sum =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(weighted), _mm512_mul_ps(d, s), _mm512_loadu_ps(y));
    if constexpr (kMinima) {
      __m512i minima_sum = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int p = 0; p < kPairs; ++p)
        minima_sum = _mm512_dpwssd_epi32(minima_sum, minima[p], _mm512_set1_epi32(pairs[p]));
      sum = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(minima_sum), _mm512_mul_ps(low, s), sum);
    }
    _mm512_storeu_ps(y, sum);
  }
};

// Rows [begin, end) of panel p.
template <int kSub, bool kMinima>
void scale_rows(const Panel* tile, int p, const RowBlock& rows, const PlaneSums& sums,
                const Pairs& pairs, int begin, int end) {
  const Scales<kSub, kMinima> scales(tile[p]);
  for (int r = begin; r < std::min(end, rows.count); ++r) {
    const int t = r / kTileRows, i = r % kTileRows;
    scales.add(sums.low[t][i], sums.high[t][i], *rows.scales[r], pairs.of[r],
               rows.y[r] + p * kPanelColumns);
  }
}

template <typename Tiles, int kSub, bool kMinima>
void multiply_whole(const IntegerFormat& f, const Panel* tile, int, const RowBlock& rows) {
  Tiles t(tile_config(f));
  Pairs pairs;
  if constexpr (kMinima) sum_pairs<kSub>(rows, pairs);
  PlaneSums sums[kTilePanels];
  const int8_t* const x = rows.values[0];
  const auto scale = [&](int p, int begin, int end) {
    scale_rows<kSub, kMinima>(tile, p, rows, sums[p], pairs, begin, end);
  };
  if (rows.count <= kTileRows) {
    dot_both<Tiles, !kMinima>(t, tile, x, sums);
    scale(0, 0, kTileRows);
  } else {
    dot_planes<Tiles, !kMinima>(t, tile[0], x, sums[0], [](int) {});
    constexpr int kStepRows = kRowsMax / 4;
    dot_planes<Tiles, !kMinima>(t, tile[1], x, sums[1], [&](int step) {
      scale(0, step * kStepRows, (step + 1) * kStepRows);
    });
  }
  scale(1, 0, kRowsMax);
}

// ---- types of 32

constexpr int kBlocksTogether = 4;

// Sums of one block of 32 elements: rows by panels.
struct BlockSums {
  alignas(64) TileSums of[2][kTilePanels];
};

template <typename Tiles>
void dot_block(Tiles& t, const Panel* tile, int b, const int8_t* x, bool two, BlockSums& sums) {
  t.template zero<0>();
  t.template zero<1>();
  t.template load<4>(x + 32 * b, kPanelElements);
  t.template load<6>(tile[0].values[kBlockLines * b], kTileRowBytes);
  t.template load<7>(tile[1].values[kBlockLines * b], kTileRowBytes);
  t.template dot_signed<0, 4, 6>();
  t.template dot_signed<1, 4, 7>();
  if (two) {
    t.template zero<2>();
    t.template zero<3>();
    t.template load<5>(x + kTileRows * kPanelElements + 32 * b, kPanelElements);
    t.template dot_signed<2, 5, 6>();
    t.template dot_signed<3, 5, 7>();
  }
  t.template store<0>(sums.of[0][0], kTileRowBytes);
  t.template store<1>(sums.of[0][1], kTileRowBytes);
  if (!two) return;
  t.template store<2>(sums.of[1][0], kTileRowBytes);
  t.template store<3>(sums.of[1][1], kTileRowBytes);
}

// Blocks [first, first + count) of one panel, ascending, into y.
template <bool kMinima>
void scale_blocks(const Panel& panel, int p, int first, int count, const RowBlock& rows,
                  const BlockSums* sums) {
  __m512 d[kBlocksTogether], low[kBlocksTogether];
  for (int i = 0; i < count; ++i) {
    d[i] = _mm512_load_ps(panel.d[first + i]);
    if constexpr (kMinima) low[i] = _mm512_load_ps(panel.low[first + i]);
  }
  for (int r = 0; r < rows.count; ++r) {
    float* const at = rows.y[r] + p * kPanelColumns;
    __m512 y = _mm512_loadu_ps(at);
    for (int i = 0; i < count; ++i) {
      const int b = first + i;
      const __m512 s = _mm512_set1_ps(rows.scales[r][b]);
      const __m512i sum = line(sums[i].of[r / kTileRows][p][r % kTileRows]);
      y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(d[i], s), y);
      if constexpr (kMinima) {
        const int x_sum = rows.sums[r][2 * b] + rows.sums[r][2 * b + 1];
        const __m512 x = _mm512_set1_ps(static_cast<float>(x_sum));
        y = _mm512_fnmadd_ps(x, _mm512_mul_ps(low[i], s), y);
      }
    }
    _mm512_storeu_ps(at, y);
  }
}

template <typename Tiles, bool kMinima>
void multiply_blocks(const IntegerFormat& f, const Panel* tile, int elements,
                     const RowBlock& rows) {
  Tiles t(tile_config(f));
  BlockSums sums[kBlocksTogether];
  for (int first = 0; first < elements / 32; first += kBlocksTogether) {
    const int count = std::min(kBlocksTogether, elements / 32 - first);
    for (int i = 0; i < count; ++i)
      dot_block(t, tile, first + i, rows.values[0], rows.count > kTileRows, sums[i]);
    for (int p = 0; p < kTilePanels; ++p)
      scale_blocks<kMinima>(tile[p], p, first, count, rows, sums);
  }
}

// ---- the body

template <typename Tiles>
void multiply(const IntegerFormat& f, const Panel* tile, int elements, const RowBlock& rows) {
  if (f.elements == 32) {
    return f.minima ? multiply_blocks<Tiles, true>(f, tile, elements, rows)
                    : multiply_blocks<Tiles, false>(f, tile, elements, rows);
  }
  if (f.sub_block == 32) {
    return f.minima ? multiply_whole<Tiles, 32, true>(f, tile, elements, rows)
                    : multiply_whole<Tiles, 32, false>(f, tile, elements, rows);
  }
  return f.minima ? multiply_whole<Tiles, 16, true>(f, tile, elements, rows)
                  : multiply_whole<Tiles, 16, false>(f, tile, elements, rows);
}

// 2 x 2 sums, as a product has them.
double chains(int64_t rounds, int32_t* out) {
  const AmxSession session(whole_tiles());
  AmxTiles t(whole_tiles());
  for (int64_t r = 0; r < rounds; ++r) {
    t.dot_signed_unsigned<0, 4, 6>();
    t.dot_signed_unsigned<1, 4, 7>();
    t.dot_signed_unsigned<2, 5, 6>();
    t.dot_signed_unsigned<3, 5, 7>();
  }
  alignas(64) TileSums sums;
  t.store<0>(sums, kTileRowBytes);
  *out = sums[0][0];
  return static_cast<double>(rounds) * 4 * 16 * 16 * 64 * 2;
}

constexpr int kRowsMin = 4;  // Below, tiles are mostly empty.

// Tiles take over where they begin to be filled.
int few_rows(DType dtype) { return std::min(few_rows_vnni(dtype), kRowsMin); }

template <typename Tiles>
constexpr Integer8Body body_of(decltype(Integer8Body::chains) chains,
                               decltype(Integer8Body::tile_config) config) {
  return {.unpack = unpack,
          .multiply = multiply<Tiles>,
          .few_rows = few_rows,
          .few = few_vnni,
          .chains = chains,
          .row_block = kRowsMax,
          .rows_min = kRowsMin,
          .rows_together = true,
          .tile_config = config};
}

}  // namespace

const Integer8Body& integer8_amx() {
  static constexpr Integer8Body body = body_of<AmxTiles>(chains, tile_config);
  return body;
}

const Integer8Body& integer8_amx_twin() {
  static const Integer8Body body = body_of<PortableTiles>(integer8_vnni().chains, nullptr);
  return body;
}

}  // namespace dure::cpu
#pragma GCC pop_options
#else
namespace dure::cpu {
const Integer8Body& integer8_amx() { return integer8_generic(); }
const Integer8Body& integer8_amx_twin() { return integer8_generic(); }
}  // namespace dure::cpu
#endif
