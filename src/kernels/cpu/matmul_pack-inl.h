// kernels/cpu/matmul_pack-inl.h: columns of B as a panel [steps, width] of f32, width 1 or 2
// vectors, 64-byte aligned.
//
// Stored row c = column c (a weight used as w^T): transposed in registers, a line of each row at a
// time. Stored row s = step s: copied. BF16 is widened on the way (a shift); other types are
// widened row by row into scratch first. Columns past the end repeat the last one (transposed) or
// are zero (copied): computed, never stored.
#if defined(DURE_KERNELS_CPU_MATMUL_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DURE_KERNELS_CPU_MATMUL_PACK_INL_H_
#undef DURE_KERNELS_CPU_MATMUL_PACK_INL_H_
#else
#define DURE_KERNELS_CPU_MATMUL_PACK_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/matmul_tile-inl.h"
#include "kernels/cpu/widen.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {
#if HWY_NATIVE_FMA

using Words = hn::ScalableTag<uint32_t>;
using WordVec = hn::Vec<Words>;

// 128-bit blocks: the even (odd) blocks of a, then those of b.
HWY_INLINE WordVec EvenBlocks(WordVec a, WordVec b) {
#if HWY_MAX_BYTES == 64
  return WordVec{_mm512_shuffle_i32x4(a.raw, b.raw, 0x88)};
#else
  return hn::ConcatLowerLower(Words(), b, a);
#endif
}
HWY_INLINE WordVec OddBlocks(WordVec a, WordVec b) {
#if HWY_MAX_BYTES == 64
  return WordVec{_mm512_shuffle_i32x4(a.raw, b.raw, 0xDD)};
#else
  return hn::ConcatUpperUpper(Words(), b, a);
#endif
}

// In place: word j of vector i <-> word i of vector j. kLanes * log2(kLanes) shuffles, all in
// registers.
HWY_INLINE void TransposeWords(WordVec* t) {
  const Words d;
  const hn::ScalableTag<uint64_t> d64;
  HWY_UNROLL(4)
  for (int64_t i = 0; i < kLanes; i += 4) {  // 4 x 4 inside the 128-bit blocks.
    const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, t[i], t[i + 1])),
               high01 = hn::BitCast(d64, hn::InterleaveUpper(d, t[i], t[i + 1]));
    const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, t[i + 2], t[i + 3])),
               high23 = hn::BitCast(d64, hn::InterleaveUpper(d, t[i + 2], t[i + 3]));
    t[i] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
    t[i + 1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
    t[i + 2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
    t[i + 3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
  }
  // Now block b of t[4 g + j] holds word 4 b + j of rows 4 g .. 4 g + 3: a transpose of the blocks
  // is left.
  HWY_UNROLL(4)
  for (int64_t j = 0; j < 4; ++j) {
#if HWY_MAX_BYTES == 64
    const WordVec even01 = EvenBlocks(t[j], t[4 + j]), odd01 = OddBlocks(t[j], t[4 + j]);
    const WordVec even23 = EvenBlocks(t[8 + j], t[12 + j]), odd23 = OddBlocks(t[8 + j], t[12 + j]);
    t[j] = EvenBlocks(even01, even23);
    t[8 + j] = OddBlocks(even01, even23);
    t[4 + j] = EvenBlocks(odd01, odd23);
    t[12 + j] = OddBlocks(odd01, odd23);
#else
    const WordVec low = EvenBlocks(t[j], t[4 + j]);
    t[4 + j] = OddBlocks(t[j], t[4 + j]);
    t[j] = low;
#endif
  }
}

// Steps held by kLanes words of a row, and step i of a transposed tile in f32. A word of halves is
// two steps, the first low.
template <DType kType>
inline constexpr int64_t kStoredBytes = kType == DType::kF32 ? 4 : 2;
template <DType kType>
inline constexpr int64_t kTileSteps = kLanes * 4 / kStoredBytes<kType>;
template <DType kType>
HWY_INLINE hn::Vec<hn::ScalableTag<float>> TileStep(const WordVec* t, int64_t i) {
  const hn::ScalableTag<float> d;
  if constexpr (kType == DType::kF32) {
    return hn::BitCast(d, t[i]);
  } else if constexpr (kType == DType::kF16) {
    const hn::Rebind<hwy::float16_t, decltype(d)> halves;
    const WordVec word = i % 2 == 0 ? t[i / 2] : hn::ShiftRight<16>(t[i / 2]);
    const auto bits = hn::TruncateTo(hn::RebindToUnsigned<decltype(halves)>(), word);
    return hn::PromoteTo(d, hn::BitCast(halves, bits));
  } else if (i % 2 == 0) {
    return hn::BitCast(d, hn::ShiftLeft<16>(t[i / 2]));
  } else {
    return hn::BitCast(d, hn::And(t[i / 2], hn::Set(Words(), 0xFFFF0000u)));
  }
}
template <DType kType>
HWY_INLINE float Element(const char* row, int64_t i) {
  if constexpr (kType == DType::kF32) return reinterpret_cast<const float*>(row)[i];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(row)[i];
  return kType == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// panel: [steps, width] from kLanes rows, one vector wide.
template <DType kType>
void Transpose(const char* const* rows, int64_t steps, float* panel, int64_t width) {
  constexpr int64_t kBytes = kStoredBytes<kType>, kSteps = kTileSteps<kType>;
  const hn::ScalableTag<float> d;
  int64_t s = 0;
  for (; s + kSteps <= steps; s += kSteps, panel += kSteps * width) {
    WordVec t[kLanes];
    HWY_UNROLL(16)
    for (int64_t r = 0; r < kLanes; ++r)
      t[r] = hn::LoadU(Words(), reinterpret_cast<const uint32_t*>(rows[r] + s * kBytes));
    TransposeWords(t);
    HWY_UNROLL(32)
    for (int64_t i = 0; i < kSteps; ++i) hn::Store(TileStep<kType>(t, i), d, panel + i * width);
  }
  for (; s < steps; ++s, panel += width) {
    for (int64_t r = 0; r < kLanes; ++r) panel[r] = Element<kType>(rows[r], s);
  }
}

// out: [count] = count elements of a stored row from element `first` on.
inline void WidenRow(DType dtype, const char* row, int64_t first, int64_t count, float* out) {
  const hn::ScalableTag<float> d;
  int64_t i = 0;
  if (dtype == DType::kF32) {
    const auto* from = reinterpret_cast<const float*>(row) + first;
    for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::LoadU(d, from + i), d, out + i);
  } else if (dtype == DType::kBF16) {
    const hn::Rebind<hwy::bfloat16_t, decltype(d)> half;
    const auto* from = reinterpret_cast<const hwy::bfloat16_t*>(row) + first;
    for (; i + kLanes <= count; i += kLanes)
      hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, from + i)), d, out + i);
  } else if (dtype == DType::kF16) {
    const hn::Rebind<hwy::float16_t, decltype(d)> half;
    const auto* from = reinterpret_cast<const hwy::float16_t*>(row) + first;
    for (; i + kLanes <= count; i += kLanes)
      hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, from + i)), d, out + i);
  }
  if (i < count) widen(dtype, row, first + i, count - i, out + i);
}

inline int64_t PanelVecs(int64_t count) { return (count + kLanes - 1) / kLanes; }

// Floats of scratch for packing `columns` columns: kLanes stored rows (transposed) or one (copied),
// in f32.
inline int64_t PackScratch(const MatMul& m, int64_t columns, int64_t steps) {
  if (!is_block(m.b_dtype)) return 0;
  return m.b_by_column ? kLanes * steps : columns;
}

// Columns [first, first + count) of steps [step, step + steps), `vecs` vectors wide.
inline void PackTransposed(const MatMul& m, int64_t first, int64_t count, int64_t step,
                           int64_t steps, int64_t vecs, float* panel, float* scratch) {
  for (int64_t v = 0; v < vecs; ++v) {
    const char* rows[kLanes];
    for (int64_t j = 0; j < kLanes; ++j) {
      rows[j] = m.b + (first + std::min(v * kLanes + j, count - 1)) * m.b_row_bytes;
      if (!is_block(m.b_dtype)) {
        rows[j] += row_bytes(m.b_dtype, step);
      } else {
        WidenRow(m.b_dtype, rows[j], step, steps, scratch + j * steps);
        rows[j] = reinterpret_cast<const char*>(scratch + j * steps);
      }
    }
    const auto transpose = m.b_dtype == DType::kBF16  ? Transpose<DType::kBF16>
                           : m.b_dtype == DType::kF16 ? Transpose<DType::kF16>
                                                      : Transpose<DType::kF32>;
    transpose(rows, steps, panel + v * kLanes, vecs * kLanes);
  }
}

// A stored row holds one step of every panel: row by row, so that a quantised block is decoded
// once, not once a panel.
inline void PackCopied(const MatMul& m, int64_t first, int64_t columns, int64_t step, int64_t steps,
                       float* panels, float* scratch) {
  const bool direct = PackScratch(m, 1, 1) == 0;
  for (int64_t s = 0; s < steps; ++s) {
    const char* row = m.b + (step + s) * m.b_row_bytes;
    if (!direct) WidenRow(m.b_dtype, row, first, columns, scratch);
    float* panel = panels;
    for (int64_t c = 0; c < columns; c += kPanel) {
      const int64_t count = std::min(kPanel, columns - c), width = PanelVecs(count) * kLanes;
      float* to = panel + s * width;
      if (direct)
        WidenRow(m.b_dtype, row, first + c, count, to);
      else
        WidenRow(DType::kF32, reinterpret_cast<const char*>(scratch), c, count, to);
      for (int64_t j = count; j < width; ++j) to[j] = 0;
      panel += steps * width;
    }
  }
}

// All panels of columns [first, first + columns), steps [step, step + steps), one after another.
inline void PackPanels(const MatMul& m, int64_t first, int64_t columns, int64_t step, int64_t steps,
                       float* panels, float* scratch) {
  if (!m.b_by_column) return PackCopied(m, first, columns, step, steps, panels, scratch);
  for (int64_t c = 0; c < columns; c += kPanel) {
    const int64_t count = std::min(kPanel, columns - c), vecs = PanelVecs(count);
    PackTransposed(m, first + c, count, step, steps, vecs, panels, scratch);
    panels += steps * vecs * kLanes;
  }
}

#endif  // HWY_NATIVE_FMA
}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
