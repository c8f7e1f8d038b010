// Products with few rows of x, AVX-512 with VNNI: 16 stored rows are turned in registers as for a
// panel, but their values go straight into the sums of up to four rows of x. Turning takes the
// shuffle ports, products the multipliers, memory neither: the three run side by side.
#include "kernels/cpu/integer8_panel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cstring>

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")

namespace dure::cpu {
namespace {

#define DURE_LAMBDA_INLINE __attribute__((always_inline))

#include "kernels/cpu/integer8_words_avx512-inl.h"
// After the words it is written in:
#include "kernels/cpu/integer8_unpack-inl.h"

// What of a type the sums depend on (integer_block.h).
struct Facts {
  int bytes;  // of 256 elements of a stored row
  int sub_block;
  int offset;
  bool minima;
  bool whole;  // one d for 256 elements, and integer scales
};

constexpr int kLines = kPanelElements / 4;  // of a panel's values

// The sums of kRows rows of x with one panel after another of the same 16 stored rows.
template <Facts kFacts, int kRows>
struct ToSums {
  static constexpr int kSub = kFacts.sub_block, kSteps = kSub / 4;  // lines of a sub-block
  static constexpr int kSubBlocks = kLines / kSteps;

  Panel& panel;  // scales and minima; its values are not used
  const uint8_t* next =
      nullptr;  // what to ask for meanwhile, as many bytes as a group has; or null
  const int8_t* x[kRows];
  const float* x_scales[kRows];
  alignas(64) int32_t starts[kRows][16];  // -offset * (sum of x), of each sub-block
  alignas(64) int32_t x_sums[kRows][16];  // of types with minima: sums, or pairs of them (whole)
  Words sums[2][kRows];                   // of the sub-blocks under way
  Words weighted[kRows];
  __m512 y[kRows];

  DURE_INLINE void begin(const FewTile& tile, int64_t group) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const int64_t row = tile.x_row[r];
      const int16_t* const of = tile.x->sums_at(group, row);
      x[r] = tile.x->values_at(group, row);
      x_scales[r] = tile.x->scales_at(group, row);
      if constexpr (kFacts.offset != 0)
        store(starts[r], _mm512_mullo_epi32(sums_of<kSub>(of), all(-kFacts.offset)));
      if constexpr (kFacts.minima && kFacts.whole) sum_pairs<kSub>(of, x_sums[r]);
      if constexpr (kFacts.minima && !kFacts.whole) store(x_sums[r], sums_of<kSub>(of));
      weighted[r] = _mm512_setzero_si512();
    }
  }

  // Line first + i.
  DURE_INLINE void values(int first, int i, Words w) { add(first, i, w, 0); }
  // Sixteen times their values: the sum is taken down once, not every line. Types without offset.
  DURE_INLINE void upper_nibbles(int first, int i, Words w) {
    add(first, i, _mm512_and_si512(w, all(static_cast<int>(0xf0f0f0f0))), 4);
  }

  // `up`: what the sum of a sub-block is to be shifted down by.
  DURE_INLINE void add(int first, int i, Words w, int up) {
    const int b = first / kSteps + i / kSteps, slot = i / kSteps % 2;
    if (i % 2 == 0) ask(first, i, w);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      if (i % kSteps == 0) sums[slot][r] = start(r, b);
      int32_t four;
      std::memcpy(&four, x[r] + 4 * (first + i), sizeof(four));
      sums[slot][r] = _mm512_dpbusd_epi32(sums[slot][r], w, all(four));
    }
    if (i % kSteps != kSteps - 1) return;
#pragma GCC unroll 4
    for (int r = 0; r < kRows && up > 0; ++r)
      sums[slot][r] = _mm512_srai_epi32(sums[slot][r], static_cast<unsigned>(up));
    end_sub_block(b, slot);
  }

  DURE_INLINE Words start(int r, int b) const {
    if constexpr (kFacts.offset == 0) return _mm512_setzero_si512();
    return all(starts[r][b]);
  }

  // An even share of the next panel's lines for every second line of this one. As if the word
  // depended on them: compilers would ask for all at once, and what is read meanwhile would wait.
  DURE_INLINE void ask(int first, int i, Words& w) const {
    constexpr int kAsked = (kPanelColumns * kFacts.bytes + 63) / 64, kTimes = kLines / 2;
    const int begin = (first + i) / 2 * kAsked / kTimes;
    const int end = ((first + i) / 2 + 1) * kAsked / kTimes;
    for (int line = begin; line < end; ++line)
      asm volatile("prefetcht1 %1" : "+v"(w) : "m"(next[64 * line]));
  }

  DURE_INLINE void end_sub_block(int b, int slot) {
    if constexpr (kFacts.whole) {
      const __m512i scale = _mm512_load_si512(panel.scales[b]);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r)
        weighted[r] = _mm512_add_epi32(weighted[r], _mm512_mullo_epi32(sums[slot][r], scale));
    } else {
      const __m512 d = _mm512_load_ps(panel.d[b]), low = _mm512_load_ps(panel.low[b]);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const __m512 scale = _mm512_set1_ps(x_scales[r][b]);
        y[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[slot][r]), _mm512_mul_ps(d, scale), y[r]);
        if constexpr (!kFacts.minima) continue;
        const __m512 x_sum = _mm512_cvtepi32_ps(all(x_sums[r][b]));
        y[r] = _mm512_fnmadd_ps(x_sum, _mm512_mul_ps(low, scale), y[r]);
      }
    }
  }

  // y += d * scale * S, y -= low * scale * L, of a type of 256.
  DURE_INLINE void end() {
    if constexpr (!kFacts.whole) return;
    const __m512 d = _mm512_load_ps(panel.d[0]), low = _mm512_load_ps(panel.low[0]);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m512 scale = _mm512_set1_ps(*x_scales[r]);
      y[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(weighted[r]), _mm512_mul_ps(d, scale), y[r]);
      if constexpr (!kFacts.minima) continue;
      Words sum = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int p = 0; p < kSubBlocks / 2; ++p)
        sum = _mm512_dpwssd_epi32(sum, _mm512_load_si512(panel.minima[p]), all(x_sums[r][p]));
      y[r] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(low, scale), y[r]);
    }
  }
};

// A type, and how it is taken apart.
#define DURE_TYPE(name, unpack_it, ...)                             \
  struct name {                                                     \
    static constexpr Facts kFacts{__VA_ARGS__};                     \
    template <typename Out>                                         \
    DURE_INLINE static void take(const PanelRows& rows, Out& out) { \
      unpack_it(rows, out);                                         \
    }                                                               \
  }
DURE_TYPE(Q80, unpack_q8_0, 272, 32, 128, false, false);
DURE_TYPE(Q40, unpack_q4_0, 144, 32, 8, false, false);
DURE_TYPE(Q41, unpack_q4_1, 160, 32, 0, true, false);
DURE_TYPE(Q50, unpack_q5_0, 176, 32, 16, false, false);
DURE_TYPE(Q51, unpack_q5_1, 192, 32, 0, true, false);
DURE_TYPE(IQ4NL, unpack_iq4_nl, 144, 32, 128, false, false);
DURE_TYPE(MXFP4, unpack_mxfp4, 136, 32, 16, false, false);
DURE_TYPE(Q2K, unpack_q2_k, 84, 16, 0, true, true);
DURE_TYPE(Q3K, unpack_q3_k, 110, 16, 4, false, true);
DURE_TYPE(Q4K, unpack_q4_k, 144, 32, 0, true, true);
DURE_TYPE(Q5K, unpack_q5_k, 176, 32, 0, true, true);
DURE_TYPE(Q6K, unpack_q6_k, 210, 16, 32, false, true);
DURE_TYPE(IQ4XS, unpack_iq4_xs, 136, 32, 128, false, true);
#undef DURE_TYPE

template <typename Type, int kRows>
void run_rows(const FewTile& tile) {
  constexpr int kBytes = Type::kFacts.bytes;
  PanelRows rows = tile.rows;
  ToSums<Type::kFacts, kRows> out{.panel = *static_cast<Panel*>(tile.room)};
  out.next = tile.next;
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) out.y[r] = _mm512_setzero_ps();
  for (int64_t g = 0; g < tile.columns / kPanelElements; ++g) {
    out.begin(tile, g);
    Type::take(rows, out);
    out.end();
    for (const uint8_t*& at : rows.at) at += kBytes;
    out.next += kPanelColumns * kBytes;
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(tile.y[r], out.y[r]);
}

template <typename Type>
void run(const FewTile& tile) {
  switch (tile.count) {
    case 1:
      return run_rows<Type, 1>(tile);
    case 2:
      return run_rows<Type, 2>(tile);
    case 3:
      return run_rows<Type, 3>(tile);
    default:
      return run_rows<Type, 4>(tile);
  }
}

}  // namespace

// By measurement (bench_integer8, 1 to 16 rows).
int few_rows_vnni(DType) { return 8; }

void few_vnni(DType dtype, const FewTile& tile) {
  // Six bits are turned as three words a group, not two: one or two rows are faster as they lie.
  if (dtype == DType::kQ6_K && tile.count <= 2) return few_q6_k_by_row_vnni(tile);
  switch (dtype) {
    case DType::kQ4_0:
      return run<Q40>(tile);
    case DType::kQ4_1:
      return run<Q41>(tile);
    case DType::kQ5_0:
      return run<Q50>(tile);
    case DType::kQ5_1:
      return run<Q51>(tile);
    case DType::kQ8_0:
      return run<Q80>(tile);
    case DType::kIQ4_NL:
      return run<IQ4NL>(tile);
    case DType::kMXFP4:
      return run<MXFP4>(tile);
    case DType::kQ2_K:
      return run<Q2K>(tile);
    case DType::kQ3_K:
      return run<Q3K>(tile);
    case DType::kQ4_K:
      return run<Q4K>(tile);
    case DType::kQ5_K:
      return run<Q5K>(tile);
    case DType::kQ6_K:
      return run<Q6K>(tile);
    case DType::kIQ4_XS:
      return run<IQ4XS>(tile);
    default:
      return;
  }
}

}  // namespace dure::cpu
#pragma GCC pop_options
#else
namespace dure::cpu {
int few_rows_vnni(DType) { return 0; }
void few_vnni(DType, const FewTile&) {}
}  // namespace dure::cpu
#endif
