// kernels/cpu/matmul_tile-inl.h: the register tile of the products: kRows x (kVecs vectors), one
// fma chain an element.
//
// Per step: kVecs loads of the packed panel, kRows broadcasts, kRows * kVecs fused multiply-adds.
// AVX-512: 14 x 2 of 32 registers; AVX2: 6 x 2 of 16. Compiled once per instruction set (Highway);
// not for EMU128.
#if defined(DURE_KERNELS_CPU_MATMUL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DURE_KERNELS_CPU_MATMUL_TILE_INL_H_
#undef DURE_KERNELS_CPU_MATMUL_TILE_INL_H_
#else
#define DURE_KERNELS_CPU_MATMUL_TILE_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/isa.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {
#if HWY_NATIVE_FMA

namespace hn = hwy::HWY_NAMESPACE;
inline constexpr int64_t kLanes = HWY_MAX_BYTES / 4;
inline constexpr int64_t kVecsMax = 2;
inline constexpr int64_t kPanel = kVecsMax * kLanes;  // columns of a full panel
inline constexpr int64_t kRowsMax = HWY_MAX_BYTES == 64 ? 14 : 6;

// A: element (r, s) at a[r * a_stride + s], or a[s * a_stride + r] where kByStep. panel: [steps,
// kVecs * kLanes]. The chains start from `from` (null: zero) and end in `to`, both with row stride
// c_stride; where `d` (of that stride too) is not null, to = alpha * sum + beta * d.
struct TileArgs {
  const float* a;
  int64_t a_stride;
  const float* panel;
  int64_t steps;
  const float* from;
  float* to;
  int64_t c_stride;
  const float* d;
  float alpha, beta;
};

template <int kRows, int kVecs, bool kByStep>
void Tile(const TileArgs& t) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  V sum[kRows][kVecs];
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v)
      sum[r][v] =
          t.from != nullptr ? hn::LoadU(d, t.from + r * t.c_stride + v * kLanes) : hn::Zero(d);
  }
  // Row r is reached from base r / 3 by 0, 1 or 2 strides, which the addressing modes hold: 5
  // pointers for 14 rows.
  constexpr int kBases = (kRows + 2) / 3;
  const float* base[kBases];
  HWY_UNROLL(8)
  for (int i = 0; i < kBases; ++i) base[i] = t.a + (kByStep ? 0 : 3 * i * t.a_stride);
  const int64_t stride = t.a_stride;
  const float* panel = t.panel;
  for (int64_t s = 0; s < t.steps; ++s) {
    V b[kVecs];
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) b[v] = hn::Load(d, panel + v * kLanes);
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const V a = hn::Set(d, kByStep ? base[0][r] : base[r / 3][(r % 3) * stride]);
      HWY_UNROLL(2)
      for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::MulAdd(a, b[v], sum[r][v]);
    }
    panel += kVecs * kLanes;
    HWY_UNROLL(8)
    for (int i = 0; i < (kByStep ? 1 : kBases); ++i) {
      base[i] += kByStep ? stride : 1;
      asm(""
          : "+r"(base[i]));  // Hides the relation between bases: else the compiler keeps a pointer
                             // per row and spills.
    }
  }
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) {
      const int64_t at = r * t.c_stride + v * kLanes;
      V out = sum[r][v];
      if (t.d != nullptr) {
        const V more = hn::Mul(hn::Set(d, t.beta), hn::LoadU(d, t.d + at));
        out = hn::Add(hn::Mul(hn::Set(d, t.alpha), out), more);
      }
      hn::StoreU(out, d, t.to + at);
    }
  }
}

using TileFunction = void (*)(const TileArgs&);

template <bool kByStep>
TileFunction tile_function(int64_t rows, int64_t vecs) {
  static constexpr TileFunction kTiles[14][2] = {
#define DURE_TILE(r) \
  {Tile<(r <= kRowsMax ? r : 1), 1, kByStep>, Tile<(r <= kRowsMax ? r : 1), 2, kByStep>}
      DURE_TILE(1),  DURE_TILE(2),  DURE_TILE(3),  DURE_TILE(4), DURE_TILE(5),
      DURE_TILE(6),  DURE_TILE(7),  DURE_TILE(8),  DURE_TILE(9), DURE_TILE(10),
      DURE_TILE(11), DURE_TILE(12), DURE_TILE(13), DURE_TILE(14)};
#undef DURE_TILE
  return kTiles[rows - 1][vecs - 1];
}

#endif  // HWY_NATIVE_FMA
}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
