// kernels/cpu/matmul_pack-inl.h: columns of B as a panel [steps, width] of f32, width 1 or 2 vectors, 64-byte aligned.
//
// Stored row c = column c (a weight used as w^T): transposed in registers, four steps of all columns at a time. Stored
// row s = step s: copied. BF16 is widened on the way (a shift); other types are widened row by row into scratch first.
// Columns past the end repeat the last one (transposed) or are zero (copied): computed, never stored.
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
#include "kernels/cpu/widen.h"
#include "kernels/cpu/matmul_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {
#if HWY_NATIVE_FMA

// Four 32-bit words of each of kLanes rows: rows r, r + 4, r + 8, ... side by side in one vector.
template <class D>
HWY_INLINE hn::Vec<D> LoadQuads(D d, const char* const* rows, int64_t byte_offset) {
  const hn::Full128<uint32_t> d4;
  const auto load = [&](int r) HWY_ATTR { return hn::LoadU(d4, reinterpret_cast<const uint32_t*>(rows[r] + byte_offset)); };
#if HWY_MAX_BYTES == 64
  const hn::Half<D> d8;
  return hn::Combine(d, hn::Combine(d8, load(12), load(8)), hn::Combine(d8, load(4), load(0)));
#else
  return hn::Combine(d, load(4), load(0));
#endif
}

// out[i]: word i of every row, rows in lane order. rows: kLanes addresses.
HWY_INLINE void TransposeQuads(const char* const* rows, int64_t byte_offset, hn::Vec<hn::ScalableTag<uint32_t>>* out) {
  const hn::ScalableTag<uint32_t> d;
  const hn::ScalableTag<uint64_t> d64;
  const auto v0 = LoadQuads(d, rows, byte_offset), v1 = LoadQuads(d, rows + 1, byte_offset);
  const auto v2 = LoadQuads(d, rows + 2, byte_offset), v3 = LoadQuads(d, rows + 3, byte_offset);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, v0, v1)), low23 = hn::BitCast(d64, hn::InterleaveLower(d, v2, v3));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, v0, v1)), high23 = hn::BitCast(d64, hn::InterleaveUpper(d, v2, v3));
  out[0] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
  out[1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
  out[2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
  out[3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
}

// panel: [steps, width] from kLanes rows of f32, at column `lane_offset` of the panel.
inline void TransposeF32(const char* const* rows, int64_t steps, float* panel, int64_t width) {
  const hn::ScalableTag<uint32_t> d;
  int64_t s = 0;
  for (; s + 4 <= steps; s += 4, panel += 4 * width) {
    hn::Vec<decltype(d)> t[4];
    TransposeQuads(rows, s * 4, t);
    HWY_UNROLL(4)
    for (int i = 0; i < 4; ++i) hn::Store(t[i], d, reinterpret_cast<uint32_t*>(panel + i * width));
  }
  for (; s < steps; ++s, panel += width) {
    for (int64_t r = 0; r < kLanes; ++r) std::memcpy(panel + r, rows[r] + s * 4, 4);
  }
}

// The same from bfloat16: a 32-bit word is two steps, the first in the low half.
inline void TransposeBf16(const char* const* rows, int64_t steps, float* panel, int64_t width) {
  const hn::ScalableTag<uint32_t> d;
  const auto high = hn::Set(d, 0xFFFF0000u);
  int64_t s = 0;
  for (; s + 8 <= steps; s += 8, panel += 8 * width) {
    hn::Vec<decltype(d)> t[4];
    TransposeQuads(rows, s * 2, t);
    HWY_UNROLL(4)
    for (int i = 0; i < 4; ++i) {
      hn::Store(hn::ShiftLeft<16>(t[i]), d, reinterpret_cast<uint32_t*>(panel + 2 * i * width));
      hn::Store(hn::And(t[i], high), d, reinterpret_cast<uint32_t*>(panel + (2 * i + 1) * width));
    }
  }
  for (; s < steps; ++s, panel += width) {
    for (int64_t r = 0; r < kLanes; ++r) {
      uint16_t bits;
      std::memcpy(&bits, rows[r] + s * 2, 2);
      panel[r] = bf16_to_f32(bits);
    }
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
    for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, from + i)), d, out + i);
  } else if (dtype == DType::kF16) {
    const hn::Rebind<hwy::float16_t, decltype(d)> half;
    const auto* from = reinterpret_cast<const hwy::float16_t*>(row) + first;
    for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, from + i)), d, out + i);
  }
  if (i < count) widen(dtype, row, first + i, count - i, out + i);
}

// Floats of scratch that PackPanel wants beside the panel.
inline int64_t PackScratch(const MatMul& m, int64_t steps) {
  const bool direct = m.b_dtype == DType::kF32 || m.b_dtype == DType::kBF16;
  return m.b_by_column && !direct ? kLanes * steps : 0;
}

// Columns [first, first + count) of steps [step, step + steps), `vecs` vectors wide.
inline void PackTransposed(const MatMul& m, int64_t first, int64_t count, int64_t step, int64_t steps, int64_t vecs, float* panel,
                           float* scratch) {
  for (int64_t v = 0; v < vecs; ++v) {
    const char* rows[kLanes];
    for (int64_t j = 0; j < kLanes; ++j) {
      rows[j] = m.b + (first + std::min(v * kLanes + j, count - 1)) * m.b_row_bytes;
      if (m.b_dtype == DType::kF32) {
        rows[j] += step * 4;
      } else if (m.b_dtype == DType::kBF16) {
        rows[j] += step * 2;
      } else {
        WidenRow(m.b_dtype, rows[j], step, steps, scratch + j * steps);
        rows[j] = reinterpret_cast<const char*>(scratch + j * steps);
      }
    }
    const auto transpose = m.b_dtype == DType::kBF16 ? TransposeBf16 : TransposeF32;
    transpose(rows, steps, panel + v * kLanes, vecs * kLanes);
  }
}

inline void PackCopied(const MatMul& m, int64_t first, int64_t count, int64_t step, int64_t steps, int64_t vecs, float* panel) {
  const int64_t width = vecs * kLanes;
  for (int64_t s = 0; s < steps; ++s, panel += width) {
    WidenRow(m.b_dtype, m.b + (step + s) * m.b_row_bytes, first, count, panel);
    for (int64_t j = count; j < width; ++j) panel[j] = 0;
  }
}

inline void PackPanel(const MatMul& m, int64_t first, int64_t count, int64_t step, int64_t steps, int64_t vecs, float* panel,
                      float* scratch) {
  if (m.b_by_column) PackTransposed(m, first, count, step, steps, vecs, panel, scratch);
  else PackCopied(m, first, count, step, steps, vecs, panel);
}

#endif  // HWY_NATIVE_FMA
}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
