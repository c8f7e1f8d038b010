// Products with very few rows of x, AVX-512 with VNNI: every stored row is read once from its first
// byte to its last, as memory likes it. A block's sums stay integers; those of 16 stored rows are
// then turned and scaled, in the order of arithmetic.h.
#include "kernels/cpu/integer8_panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")

namespace dure::cpu {
namespace {

#include "kernels/cpu/transpose_avx512-inl.h"

// Where the sums and scales of 16 stored rows wait, by block. Words: [16, stride].
struct Room {
  int64_t stride = 0;          // words of a stored row
  int32_t* sums[kFewRows];     // S of a block; with minima S and L side by side
  uint32_t* halves = nullptr;  // d in the low half, low in the high one
};

Room room_of(void* memory, int64_t blocks, int words_per_block) {
  Room room;
  room.stride = (blocks * words_per_block + 15) / 16 * 16;
  auto* at = static_cast<int32_t*>(memory);
  for (int32_t*& sums : room.sums) {
    sums = at;
    at += kPanelColumns * room.stride;
  }
  room.halves = reinterpret_cast<uint32_t*>(at);
  return room;
}

DURE_INLINE __m256i load32(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}
DURE_INLINE __m512i load64(const void* at) { return _mm512_loadu_si512(at); }
DURE_INLINE __m512i join(const void* low, const void* high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(load32(low)), load32(high), 1);
}
DURE_INLINE uint32_t word(const uint8_t* at) {
  uint32_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}
DURE_INLINE uint16_t half(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}

// sums += scales * (values . x), lane by lane: pairs of products in 16 bits, then with the scale of
// their sub-block. Stored values up to 63.
DURE_INLINE __m512i add_dots(__m512i sums, __m512i values, __m512i x, __m512i scales) {
  return _mm512_dpwssd_epi32(sums, _mm512_maddubs_epi16(values, x), scales);
}
DURE_INLINE __m256i fold(__m512i sums) {
  return _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
}
// The sum of the lanes of a, then that of b.
DURE_INLINE void store_sums(int32_t* at, __m256i a, __m256i b) {
  const __m256i pairs = _mm256_hadd_epi32(a, b);
  const __m128i four =
      _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(at), _mm_hadd_epi32(four, four));
}

// The word lanes of two sub-blocks of 32: scale a in the lower half, b in the upper.
DURE_INLINE __m512i pick(int a, int b) {
  const __m256i low = _mm256_set1_epi16(static_cast<int16_t>(2 * a | (2 * a + 1) << 8));
  const __m256i high = _mm256_set1_epi16(static_cast<int16_t>(2 * b | (2 * b + 1) << 8));
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Six-bit scales and minima of Q4_K and Q5_K, a byte each.
struct KScales {
  uint64_t scales, minima;
};
DURE_INLINE KScales k_scales(const uint8_t* at) {
  const uint32_t a = word(at), b = word(at + 4), c = word(at + 8);
  const uint64_t scales_high = (c & 0x0f0f0f0f) | ((a >> 6) & 0x03030303) << 4;
  const uint64_t minima_high = ((c >> 4) & 0x0f0f0f0f) | ((b >> 6) & 0x03030303) << 4;
  return {(a & 0x3f3f3f3f) | scales_high << 32, (b & 0x3f3f3f3f) | minima_high << 32};
}

// A row of x at one group.
struct X {
  const int8_t* values;
  const int16_t* sums;
};

// Four registers of values: sub-blocks 0 | 2, 1 | 3, 4 | 6, 5 | 7.
template <int kRows>
DURE_INLINE void k_sums(const uint8_t* scales_at, const __m512i* values, const X* x,
                        int32_t** out) {
  const KScales k = k_scales(scales_at);
  const __m128i bytes = _mm_cvtsi64_si128(static_cast<int64_t>(k.scales));
  const __m512i scales = _mm512_broadcast_i32x4(_mm_cvtepu8_epi16(bytes));
  const __m128i low = _mm_cvtsi64_si128(static_cast<int64_t>(k.minima));
  const __m256i minima = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(low, low));
  const __m512i s[4] = {
      _mm512_shuffle_epi8(scales, pick(0, 2)), _mm512_shuffle_epi8(scales, pick(1, 3)),
      _mm512_shuffle_epi8(scales, pick(4, 6)), _mm512_shuffle_epi8(scales, pick(5, 7))};
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    __m512i sums = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int8_t* const at = x[r].values + i / 2 * 128 + i % 2 * 32;
      sums = add_dots(sums, values[i], join(at, at + 64), s[i]);
    }
    store_sums(out[r], fold(sums), _mm256_madd_epi16(minima, load32(x[r].sums)));
  }
}

constexpr int kNibble = 0x0f0f0f0f;
DURE_INLINE __m512i masked(__m512i v, int shift, int mask) {
  return _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(shift)),
                          _mm512_set1_epi32(mask));
}

struct Q4K {
  static constexpr int kBlocks = 1, kWords = 2;
  template <int kRows>
  DURE_INLINE static void group(const uint8_t* b, const X* x, int32_t** out, uint32_t* halves) {
    const __m512i first = load64(b + 16), second = load64(b + 80);
    const __m512i values[4] = {masked(first, 0, kNibble), masked(first, 4, kNibble),
                               masked(second, 0, kNibble), masked(second, 4, kNibble)};
    *halves = word(b);
    k_sums<kRows>(b + 4, values, x, out);
  }
};

// Bit a of every byte in the lower half, b in the upper, as a fifth bit.
DURE_INLINE __m512i fifth_bits(__m512i both, int a, int b) {
  const __m512i shifts = _mm512_set_epi64(b, b, b, b, a, a, a, a);
  const __m512i bit =
      _mm512_and_si512(_mm512_srlv_epi64(both, shifts), _mm512_set1_epi32(0x01010101));
  return _mm512_slli_epi32(bit, 4);
}

struct Q5K {
  static constexpr int kBlocks = 1, kWords = 2;
  template <int kRows>
  DURE_INLINE static void group(const uint8_t* b, const X* x, int32_t** out, uint32_t* halves) {
    const __m512i high = _mm512_broadcast_i64x4(load32(b + 16));
    const __m512i first = load64(b + 48), second = load64(b + 112);
    const __m512i values[4] = {_mm512_or_si512(masked(first, 0, kNibble), fifth_bits(high, 0, 2)),
                               _mm512_or_si512(masked(first, 4, kNibble), fifth_bits(high, 1, 3)),
                               _mm512_or_si512(masked(second, 0, kNibble), fifth_bits(high, 4, 6)),
                               _mm512_or_si512(masked(second, 4, kNibble), fifth_bits(high, 5, 7))};
    *halves = word(b);
    k_sums<kRows>(b + 4, values, x, out);
  }
};

// Two bits from bit a on of every byte in the lower half, from b in the upper, as bits 4 and 5.
DURE_INLINE __m512i upper_bits(__m512i both, int a, int b) {
  const __m512i shifts = _mm512_set_epi64(b, b, b, b, a, a, a, a);
  const __m512i bits =
      _mm512_and_si512(_mm512_srlv_epi64(both, shifts), _mm512_set1_epi32(0x03030303));
  return _mm512_slli_epi32(bits, 4);
}

// Scale `first` + lane of every 128-bit lane.
DURE_INLINE __m512i lane_scales(__m256i scales, int first) {
  const __m512i lanes = _mm512_inserti64x4(
      _mm512_castsi256_si512(_mm256_set_m128i(_mm_set1_epi16(1), _mm_setzero_si128())),
      _mm256_set_m128i(_mm_set1_epi16(3), _mm_set1_epi16(2)), 1);
  const __m512i index = _mm512_add_epi16(lanes, _mm512_set1_epi16(static_cast<int16_t>(first)));
  return _mm512_permutexvar_epi16(index, _mm512_castsi256_si512(scales));
}

struct Q6K {
  static constexpr int kBlocks = 1, kWords = 1;
  template <int kRows>
  DURE_INLINE static void group(const uint8_t* b, const X* x, int32_t** out, uint32_t* halves) {
    *halves = half(b + 208);
    const __m256i scales =
        _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + 192)));
    __m512i values[4], s[4];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m512i low = load64(b + 64 * h);
      const __m512i high = _mm512_broadcast_i64x4(load32(b + 128 + 32 * h));
      values[2 * h] = _mm512_or_si512(masked(low, 0, kNibble), upper_bits(high, 0, 2));
      values[2 * h + 1] = _mm512_or_si512(masked(low, 4, kNibble), upper_bits(high, 4, 6));
      s[2 * h] = lane_scales(scales, 8 * h);
      s[2 * h + 1] = lane_scales(scales, 8 * h + 4);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      __m512i sums = _mm512_setzero_si512();
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        sums = add_dots(sums, values[i], load64(x[r].values + 64 * i), s[i]);
      const __m256i offsets = _mm256_madd_epi16(scales, load32(x[r].sums));
      const __m256i all = _mm256_sub_epi32(fold(sums), _mm256_slli_epi32(offsets, 5));
      alignas(8) int32_t both[2];
      store_sums(both, all, all);
      *out[r] = both[0];
    }
  }
};

// The sums of eight blocks of 32, in order, from four registers of two blocks each.
DURE_INLINE __m256i eight_sums(const __m512i* v) {
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

struct Q80 {
  static constexpr int kBlocks = 8, kWords = 1;
  template <int kRows>
  DURE_INLINE static void group(const uint8_t* b, const X* x, int32_t** out, uint32_t* halves) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) halves[i] = half(b + 34 * i);
    const __m512i sign = _mm512_set1_epi8(-128);
    __m512i values[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      values[i] = _mm512_xor_si512(join(b + 68 * i + 2, b + 68 * i + 36), sign);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      __m512i sums[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        sums[i] =
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), values[i], load64(x[r].values + 64 * i));
      const __m256i x_sums = _mm256_madd_epi16(load32(x[r].sums), _mm256_set1_epi16(1));
      const __m256i all = _mm256_sub_epi32(eight_sums(sums), _mm256_slli_epi32(x_sums, 7));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out[r]), all);
    }
  }
};

// Into the level-2 cache, across the ends of rows: the next one follows in memory. Measured: half
// as fast again as a processor's own prefetching alone.
constexpr int64_t kGroupsAhead = 28;

template <typename Type, int kRows>
void read_row(const FewTile& tile, int c, int64_t bytes, const Room& room) {
  const uint8_t* at = tile.rows.at[c];
  int32_t* out[kRows];
  for (int r = 0; r < kRows; ++r) out[r] = room.sums[r] + c * room.stride;
  uint32_t* halves = room.halves + c * room.stride;
  for (int64_t g = 0; g < tile.columns / kPanelElements; ++g, at += bytes) {
    fetch(at + kGroupsAhead * bytes, bytes);
    X x[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
      x[r] = {tile.x->values_at(g, tile.x_row[r]), tile.x->sums_at(g, tile.x_row[r])};
    Type::template group<kRows>(at, x, out, halves);
    halves += Type::kBlocks;
    for (int r = 0; r < kRows; ++r) out[r] += Type::kBlocks * Type::kWords;
  }
}

DURE_INLINE void turn(const void* words, int64_t stride, __m512i* t) {
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) t[r] = load64(static_cast<const int32_t*>(words) + r * stride);
  transpose16(t);
}
DURE_INLINE __m512 low_halves(__m512i words) {
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
}

// y of 16 columns from their sums, blocks ascending.
template <typename Type>
void scale_sums(const Room& room, int r, const float* x_scales, int64_t x_stride, int64_t blocks,
                float* y) {
  constexpr bool kMinima = Type::kWords == 2;
  __m512 sum = _mm512_setzero_ps();
  for (int64_t first = 0; first < blocks; first += 16) {
    __m512i words[16 * Type::kWords], halves[16];
    for (int i = 0; i < Type::kWords; ++i)
      turn(room.sums[r] + first * Type::kWords + 16 * i, room.stride, words + 16 * i);
    turn(room.halves + first, room.stride, halves);
    const int64_t count = blocks - first < 16 ? blocks - first : 16;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t b = first + i;
      const __m512 scale =
          _mm512_set1_ps(x_scales[b / Type::kBlocks * x_stride + b % Type::kBlocks]);
      const __m512 weighted = _mm512_cvtepi32_ps(words[i * Type::kWords]);
      sum = _mm512_fmadd_ps(weighted, _mm512_mul_ps(low_halves(halves[i]), scale), sum);
      if constexpr (kMinima) {
        const __m512 low = low_halves(_mm512_srli_epi32(halves[i], 16));
        const __m512 minima = _mm512_cvtepi32_ps(words[2 * i + 1]);
        sum = _mm512_fnmadd_ps(minima, _mm512_mul_ps(low, scale), sum);
      }
    }
  }
  _mm512_storeu_ps(y, sum);
}

template <typename Type, int kRows>
void run_rows(const FewTile& tile, int64_t bytes) {
  const int64_t groups = tile.columns / kPanelElements, blocks = groups * Type::kBlocks;
  const Room room = room_of(tile.room, blocks, Type::kWords);
  for (int c = 0; c < kPanelColumns; ++c) read_row<Type, kRows>(tile, c, bytes, room);
  const int64_t x_stride = tile.x->rows * tile.x->scales_per_group;
  for (int r = 0; r < kRows; ++r) {
    scale_sums<Type>(room, r, tile.x->scales_at(0, tile.x_row[r]), x_stride, blocks, tile.y[r]);
  }
}

template <typename Type>
bool run(const FewTile& tile, int64_t bytes) {
  switch (tile.count) {
    case 1:
      run_rows<Type, 1>(tile, bytes);
      return true;
    case 2:
      run_rows<Type, 2>(tile, bytes);
      return true;
    case 3:
      run_rows<Type, 3>(tile, bytes);
      return true;
    default:
      run_rows<Type, 4>(tile, bytes);
      return true;
  }
}

}  // namespace

bool few_vnni(DType dtype, const FewTile& tile) {
  const int64_t bytes = row_bytes(dtype, kPanelElements);
  switch (dtype) {
    case DType::kQ4_K:
      return run<Q4K>(tile, bytes);
    case DType::kQ5_K:
      return run<Q5K>(tile, bytes);
    case DType::kQ6_K:
      return run<Q6K>(tile, bytes);
    case DType::kQ8_0:
      return run<Q80>(tile, bytes);
    default:
      return false;
  }
}

}  // namespace dure::cpu
#pragma GCC pop_options
#else
namespace dure::cpu {
bool few_vnni(DType, const FewTile&) { return false; }
}  // namespace dure::cpu
#endif
