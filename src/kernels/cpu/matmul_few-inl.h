// kernels/cpu/matmul_few-inl.h: y = x w^T for one to kFewRows rows: weights read once, in place, no
// panel in between.
//
// Decoding reads every weight for a few rows of x: the memory is the limit, and a packed panel
// would cost a second pass over level 1. A tile of kLanes stored rows is transposed in registers
// and used at once by every row of x; one chain per output, as everywhere. F32 and BF16; other
// types go through panels.
#if defined(DURE_KERNELS_CPU_MATMUL_FEW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DURE_KERNELS_CPU_MATMUL_FEW_INL_H_
#undef DURE_KERNELS_CPU_MATMUL_FEW_INL_H_
#else
#define DURE_KERNELS_CPU_MATMUL_FEW_INL_H_
#endif

#include "kernels/cpu/matmul_pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {
#if HWY_NATIVE_FMA

// What the registers hold beside the tile.
inline constexpr int64_t kFewRows = HWY_MAX_BYTES == 64 ? 8 : 4;

// The stored rows after those at work, which are fetched meanwhile in the order they lie in: read
// side by side, as chains are, they are more streams than a processor follows.
struct Ahead {
  const char* next = nullptr;
  int64_t bytes = 0;

  // The next `count` bytes, to the level-2 cache.
  HWY_INLINE void fetch(int64_t count) {
    for (int64_t line = 0; line < count; line += 64) __builtin_prefetch(next + line, 0, 2);
    next += count;
    bytes -= count;
  }
};

// out: [kRows, kLanes] of chains over the steps. x: rows x_stride apart. rows: kLanes addresses of
// stored weights.
template <int kRows, DType kType>
void FewColumns(const float* x, int64_t x_stride, const char* const* rows, int64_t steps,
                Ahead ahead, float* out) {
  constexpr int64_t kTileBytes = kLanes * kLanes * 4, kSteps = kTileSteps<kType>;
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> sum[kRows];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) sum[r] = hn::Zero(d);
  int64_t s = 0;
  for (; s + kSteps <= steps; s += kSteps) {
    if (ahead.bytes >= kTileBytes) ahead.fetch(kTileBytes);
    WordVec t[kLanes];
    HWY_UNROLL(16)
    for (int64_t j = 0; j < kLanes; ++j) {
      const char* from = rows[j] + s * kStoredBytes<kType>;
      t[j] = hn::LoadU(Words(), reinterpret_cast<const uint32_t*>(from));
    }
    TransposeWords(t);
    HWY_UNROLL(32)
    for (int64_t i = 0; i < kSteps; ++i) {
      const auto w = TileStep<kType>(t, i);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r)
        sum[r] = hn::MulAdd(hn::Set(d, x[r * x_stride + s + i]), w, sum[r]);
    }
  }
  for (; s < steps; ++s) {
    HWY_ALIGN float w[kLanes];
    for (int64_t j = 0; j < kLanes; ++j) w[j] = Element<kType>(rows[j], s);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r)
      sum[r] = hn::MulAdd(hn::Set(d, x[r * x_stride + s]), hn::Load(d, w), sum[r]);
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) hn::Store(sum[r], d, out + r * kLanes);
}

using FewFunction = void (*)(const float*, int64_t, const char* const*, int64_t, Ahead, float*);

template <DType kType>
FewFunction few_function(int64_t rows) {
#define DURE_FEW(r) FewColumns<(r <= kFewRows ? r : 1), kType>
  static constexpr FewFunction kFunctions[8] = {DURE_FEW(1), DURE_FEW(2), DURE_FEW(3), DURE_FEW(4),
                                                DURE_FEW(5), DURE_FEW(6), DURE_FEW(7), DURE_FEW(8)};
#undef DURE_FEW
  return kFunctions[rows - 1];
}

inline bool UsesFewRows(const MatMul& m, const Block& block) {
  return m.b_by_column && m.finish == Finish::kSet && block.row_end - block.row_begin <= kFewRows &&
         !is_block(m.b_dtype);
}

inline void FewRows(const MatMul& m, const Block& block) {
  const int64_t rows = block.row_end - block.row_begin;
  const FewFunction function = m.b_dtype == DType::kBF16  ? few_function<DType::kBF16>(rows)
                               : m.b_dtype == DType::kF16 ? few_function<DType::kF16>(rows)
                                                          : few_function<DType::kF32>(rows);
  const auto rows_at = [&](int64_t c) {
    const int64_t count = std::clamp<int64_t>(block.column_end - c, 0, kLanes);
    return Ahead{m.b + c * m.b_row_bytes, count * m.b_row_bytes};
  };
  Ahead first = rows_at(block.column_begin);  // Nobody has fetched them.
  first.fetch(first.bytes);
  for (int64_t c = block.column_begin; c < block.column_end; c += kLanes) {
    const int64_t count = std::min(kLanes, block.column_end - c);
    const char* stored[kLanes];
    for (int64_t j = 0; j < kLanes; ++j)
      stored[j] = m.b + (c + std::min(j, count - 1)) * m.b_row_bytes;
    HWY_ALIGN float out[kFewRows * kLanes];
    function(m.a + block.row_begin * m.a_stride, m.a_stride, stored, m.steps, rows_at(c + count),
             out);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(out + r * kLanes, count, m.c + (block.row_begin + r) * m.c_stride + c);
    }
  }
}

#endif  // HWY_NATIVE_FMA
}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
