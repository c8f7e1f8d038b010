// kernels/cpu/lanes-inl.h: sixteen f32 lanes, whatever the instruction set: one register of
// AVX-512, two of AVX2, an array in generic code. Also exp, sine and cosine over them (log: log.h).
//
// Why: the contracts fix sums "in 16 lanes, then a fixed tree" and results that are equal in bits
// on AVX2 and AVX-512. Written over these lanes, a kernel is the same sequence of IEEE operations
// everywhere. Highway has no 16-lane tag for AVX2, hence the pairs. Included once per target by
// foreach_target.h, hence the toggle in place of #pragma once.
#if defined(DURE_KERNELS_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DURE_KERNELS_CPU_LANES_INL_H_
#undef DURE_KERNELS_CPU_LANES_INL_H_
#else
#define DURE_KERNELS_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kLanes = 16;

// Stored values of 16 and 8 bits, which load16() widens exactly.
struct Bf16 {
  uint16_t bits;
};
struct Half16 {
  uint16_t bits;
};
struct Code8 {
  int8_t value;
};
inline float widened(float x) { return x; }
inline float widened(Bf16 x) { return bf16_to_f32(x.bits); }
inline float widened(Half16 x) { return f16_to_f32(x.bits); }
inline float widened(Code8 x) { return static_cast<float>(x.value); }

#define DURE_LANE_OP inline HWY_ATTR __attribute__((always_inline))

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

// Any processor: plain loops, the same sequence of operations. std::fma where the others have an
// instruction.
constexpr int64_t kNative = 1;
struct F16 {
  float at[kLanes];
};
struct Mask16 {
  bool at[kLanes];
};
template <class Function>
DURE_LANE_OP F16 each_lane(Function function) {
  F16 result;
  for (int64_t l = 0; l < kLanes; ++l) result.at[l] = function(l);
  return result;
}
template <class Function>
DURE_LANE_OP Mask16 each_mask(Function function) {
  Mask16 result;
  for (int64_t l = 0; l < kLanes; ++l) result.at[l] = function(l);
  return result;
}
DURE_LANE_OP F16 add(F16 a, F16 b) {
  return each_lane([&](int64_t l) { return a.at[l] + b.at[l]; });
}
DURE_LANE_OP F16 sub(F16 a, F16 b) {
  return each_lane([&](int64_t l) { return a.at[l] - b.at[l]; });
}
DURE_LANE_OP F16 mul(F16 a, F16 b) {
  return each_lane([&](int64_t l) { return a.at[l] * b.at[l]; });
}
DURE_LANE_OP F16 div(F16 a, F16 b) {
  return each_lane([&](int64_t l) { return a.at[l] / b.at[l]; });
}
DURE_LANE_OP F16 min(F16 a, F16 b) {
  return each_lane([&](int64_t l) { return a.at[l] < b.at[l] ? a.at[l] : b.at[l]; });
}
DURE_LANE_OP F16 max(F16 a, F16 b) {
  return each_lane([&](int64_t l) { return a.at[l] > b.at[l] ? a.at[l] : b.at[l]; });
}
DURE_LANE_OP F16 fma(F16 a, F16 b, F16 c) {
  return each_lane([&](int64_t l) { return std::fma(a.at[l], b.at[l], c.at[l]); });
}
DURE_LANE_OP F16 fnma(F16 a, F16 b, F16 c) {
  return each_lane([&](int64_t l) { return std::fma(-a.at[l], b.at[l], c.at[l]); });
}
DURE_LANE_OP F16 negate(F16 a) {
  return each_lane([&](int64_t l) { return -a.at[l]; });
}
DURE_LANE_OP Mask16 less(F16 a, F16 b) {
  return each_mask([&](int64_t l) { return a.at[l] < b.at[l]; });
}
DURE_LANE_OP Mask16 less_equal(F16 a, F16 b) {
  return each_mask([&](int64_t l) { return a.at[l] <= b.at[l]; });
}
DURE_LANE_OP F16 select(Mask16 mask, F16 yes, F16 no) {
  return each_lane([&](int64_t l) { return mask.at[l] ? yes.at[l] : no.at[l]; });
}
DURE_LANE_OP F16 scale_by_power(F16 p, F16 t) {
  return each_lane([&](int64_t l) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(p.at[l]) +
                                (std::bit_cast<uint32_t>(t.at[l]) << 23));
  });
}
DURE_LANE_OP Mask16 bit_is_set(F16 t, uint32_t bit) {
  return each_mask([&](int64_t l) { return (std::bit_cast<uint32_t>(t.at[l]) & bit) != 0; });
}
template <class Stored>
DURE_LANE_OP F16 load16(const Stored* p) {
  return each_lane([&](int64_t l) { return widened(p[l]); });
}
DURE_LANE_OP F16 load16_n(const float* p, int64_t n) {
  return each_lane([&](int64_t l) { return l < n ? p[l] : 0.0f; });
}
DURE_LANE_OP F16 set16(float value) {
  return each_lane([&](int64_t) { return value; });
}
DURE_LANE_OP void store_n(F16 v, float* p, int64_t n) {
  for (int64_t l = 0; l < kLanes && l < n; ++l) p[l] = v.at[l];
}
DURE_LANE_OP void store(F16 v, float* p) { store_n(v, p, kLanes); }
DURE_LANE_OP F16 keep_first(F16 v, int64_t n, F16 other) {
  return each_lane([&](int64_t l) { return l < n ? v.at[l] : other.at[l]; });
}
DURE_LANE_OP int64_t first_equal(F16 v, float x) {
  for (int64_t l = 0; l < kLanes; ++l) {
    if (v.at[l] == x) return l;
  }
  return -1;
}
DURE_LANE_OP float sum16(F16 v) {
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t l = 0; l < half; ++l) v.at[l] = v.at[l] + v.at[l + half];
  }
  return v.at[0];
}
DURE_LANE_OP float max16(F16 v) {
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t l = 0; l < half; ++l)
      v.at[l] = v.at[l] > v.at[l + half] ? v.at[l] : v.at[l + half];
  }
  return v.at[0];
}

#else

using NativeTag = hn::CappedTag<float, 16>;
using NativeIntTag = hn::RebindToSigned<NativeTag>;
using Native = hn::Vec<NativeTag>;
constexpr int64_t kNative = static_cast<int64_t>(hn::MaxLanes(NativeTag()));

template <class Half>
struct Pair {
  Half lo, hi;
};

template <class V>
struct LaneCount {
  static constexpr int64_t value = kNative;
};
template <class Half>
struct LaneCount<Pair<Half> > {
  static constexpr int64_t value = 2 * LaneCount<Half>::value;
};

template <int64_t kNativeLanes>
struct SixteenOf;
template <>
struct SixteenOf<16> {
  using type = Native;
};
template <>
struct SixteenOf<8> {
  using type = Pair<Native>;
};
using F16 = SixteenOf<kNative>::type;  // 16 f32 lanes

// Operations on one register, then on pairs of them. Names in lower case: Highway's own are in
// CamelCase.
DURE_LANE_OP Native add(Native a, Native b) { return hn::Add(a, b); }
DURE_LANE_OP Native sub(Native a, Native b) { return hn::Sub(a, b); }
DURE_LANE_OP Native mul(Native a, Native b) { return hn::Mul(a, b); }
DURE_LANE_OP Native div(Native a, Native b) { return hn::Div(a, b); }
DURE_LANE_OP Native min(Native a, Native b) { return hn::Min(a, b); }
DURE_LANE_OP Native max(Native a, Native b) { return hn::Max(a, b); }
DURE_LANE_OP Native fma(Native a, Native b, Native c) { return hn::MulAdd(a, b, c); }  // a b + c
// c - a b
DURE_LANE_OP Native fnma(Native a, Native b, Native c) { return hn::NegMulAdd(a, b, c); }
DURE_LANE_OP auto less(Native a, Native b) { return hn::Lt(a, b); }
DURE_LANE_OP auto less_equal(Native a, Native b) { return hn::Le(a, b); }
DURE_LANE_OP Native select(hn::Mask<NativeTag> mask, Native yes, Native no) {
  return hn::IfThenElse(mask, yes, no);
}
// p * 2^n where the low bits of t's pattern hold the integer n and p * 2^n is normal.
DURE_LANE_OP Native scale_by_power(Native p, Native t) {
  const NativeIntTag di;
  return hn::BitCast(NativeTag(),
                     hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, t))));
}
// Quadrants of an angle, from the two low bits of t's pattern: q odd swaps sine and cosine, q & 2
// turns the sine's sign.
DURE_LANE_OP auto bit_is_set(Native t, int32_t bit) {
  const NativeIntTag di;
  return hn::RebindMask(NativeTag(), hn::TestBit(hn::BitCast(di, t), hn::Set(di, bit)));
}
DURE_LANE_OP Native negate(Native a) { return hn::Neg(a); }
DURE_LANE_OP Native load(const float* p, Native*) { return hn::LoadU(NativeTag(), p); }
DURE_LANE_OP Native load(const Bf16* p, Native*) {
  const hn::Rebind<hwy::bfloat16_t, NativeTag> narrow;
  return hn::PromoteTo(NativeTag(), hn::LoadU(narrow, reinterpret_cast<const hwy::bfloat16_t*>(p)));
}
DURE_LANE_OP Native load(const Half16* p, Native*) {
  const hn::Rebind<hwy::float16_t, NativeTag> narrow;
  return hn::PromoteTo(NativeTag(), hn::LoadU(narrow, reinterpret_cast<const hwy::float16_t*>(p)));
}
DURE_LANE_OP Native load(const Code8* p, Native*) {
  const hn::Rebind<int8_t, NativeTag> narrow;
  const auto codes = hn::LoadU(narrow, reinterpret_cast<const int8_t*>(p));
  return hn::ConvertTo(NativeTag(), hn::PromoteTo(NativeIntTag(), codes));
}
DURE_LANE_OP Native load_n(const float* p, int64_t n, Native*) {
  if (n <= 0) return hn::Zero(NativeTag());
  if (n >= kNative) return hn::LoadU(NativeTag(), p);
  return hn::MaskedLoad(hn::FirstN(NativeTag(), static_cast<size_t>(n)), NativeTag(), p);
}
DURE_LANE_OP Native set(float value, Native*) { return hn::Set(NativeTag(), value); }
DURE_LANE_OP void store(Native v, float* p) { hn::StoreU(v, NativeTag(), p); }
DURE_LANE_OP void store_n(Native v, float* p, int64_t n) {
  if (n >= kNative) {
    hn::StoreU(v, NativeTag(), p);
  } else if (n > 0) {
    hn::BlendedStore(v, hn::FirstN(NativeTag(), static_cast<size_t>(n)), NativeTag(), p);
  }
}
// Lanes l >= n become `other`.
DURE_LANE_OP Native keep_first(Native v, int64_t n, Native other) {
  if (n >= kNative) return v;
  return hn::IfThenElse(hn::FirstN(NativeTag(), static_cast<size_t>(std::max<int64_t>(n, 0))), v,
                        other);
}
// The first lane equal to x, or -1.
DURE_LANE_OP int64_t first_equal(Native v, float x) {
  return hn::FindFirstTrue(NativeTag(), hn::Eq(v, hn::Set(NativeTag(), x)));
}

#define DURE_PAIR_OP \
  template <class H> \
  DURE_LANE_OP
DURE_PAIR_OP Pair<H> add(Pair<H> a, Pair<H> b) { return {add(a.lo, b.lo), add(a.hi, b.hi)}; }
DURE_PAIR_OP Pair<H> sub(Pair<H> a, Pair<H> b) { return {sub(a.lo, b.lo), sub(a.hi, b.hi)}; }
DURE_PAIR_OP Pair<H> mul(Pair<H> a, Pair<H> b) { return {mul(a.lo, b.lo), mul(a.hi, b.hi)}; }
DURE_PAIR_OP Pair<H> div(Pair<H> a, Pair<H> b) { return {div(a.lo, b.lo), div(a.hi, b.hi)}; }
DURE_PAIR_OP Pair<H> min(Pair<H> a, Pair<H> b) { return {min(a.lo, b.lo), min(a.hi, b.hi)}; }
DURE_PAIR_OP Pair<H> max(Pair<H> a, Pair<H> b) { return {max(a.lo, b.lo), max(a.hi, b.hi)}; }
DURE_PAIR_OP Pair<H> fma(Pair<H> a, Pair<H> b, Pair<H> c) {
  return {fma(a.lo, b.lo, c.lo), fma(a.hi, b.hi, c.hi)};
}
DURE_PAIR_OP Pair<H> fnma(Pair<H> a, Pair<H> b, Pair<H> c) {
  return {fnma(a.lo, b.lo, c.lo), fnma(a.hi, b.hi, c.hi)};
}
DURE_PAIR_OP auto less(Pair<H> a, Pair<H> b) {
  return Pair<decltype(less(a.lo, b.lo))>{less(a.lo, b.lo), less(a.hi, b.hi)};
}
DURE_PAIR_OP auto less_equal(Pair<H> a, Pair<H> b) {
  return Pair<decltype(less_equal(a.lo, b.lo))>{less_equal(a.lo, b.lo), less_equal(a.hi, b.hi)};
}
template <class M, class H>
DURE_LANE_OP Pair<H> select(Pair<M> mask, Pair<H> yes, Pair<H> no) {
  return {select(mask.lo, yes.lo, no.lo), select(mask.hi, yes.hi, no.hi)};
}
DURE_PAIR_OP Pair<H> scale_by_power(Pair<H> p, Pair<H> t) {
  return {scale_by_power(p.lo, t.lo), scale_by_power(p.hi, t.hi)};
}
DURE_PAIR_OP auto bit_is_set(Pair<H> t, int32_t bit) {
  return Pair<decltype(bit_is_set(t.lo, bit))>{bit_is_set(t.lo, bit), bit_is_set(t.hi, bit)};
}
DURE_PAIR_OP Pair<H> negate(Pair<H> a) { return {negate(a.lo), negate(a.hi)}; }
template <class H, class T>
DURE_LANE_OP Pair<H> load(const T* p, Pair<H>*) {
  return {load(p, static_cast<H*>(nullptr)),
          load(p + LaneCount<H>::value, static_cast<H*>(nullptr))};
}
DURE_PAIR_OP Pair<H> load_n(const float* p, int64_t n, Pair<H>*) {
  return {load_n(p, n, static_cast<H*>(nullptr)),
          load_n(p + LaneCount<H>::value, n - LaneCount<H>::value, static_cast<H*>(nullptr))};
}
DURE_PAIR_OP Pair<H> set(float value, Pair<H>*) {
  const H half = set(value, static_cast<H*>(nullptr));
  return {half, half};
}
DURE_PAIR_OP void store(Pair<H> v, float* p) {
  store(v.lo, p);
  store(v.hi, p + LaneCount<H>::value);
}
DURE_PAIR_OP void store_n(Pair<H> v, float* p, int64_t n) {
  store_n(v.lo, p, n);
  store_n(v.hi, p + LaneCount<H>::value, n - LaneCount<H>::value);
}
DURE_PAIR_OP Pair<H> keep_first(Pair<H> v, int64_t n, Pair<H> other) {
  return {keep_first(v.lo, n, other.lo), keep_first(v.hi, n - LaneCount<H>::value, other.hi)};
}
DURE_PAIR_OP int64_t first_equal(Pair<H> v, float x) {
  const int64_t low = first_equal(v.lo, x), high = first_equal(v.hi, x);
  return low >= 0 ? low : high >= 0 ? high + LaneCount<H>::value : -1;
}

// The sixteen-lane face.
template <class T>
DURE_LANE_OP F16 load16(const T* p) {
  return load(p, static_cast<F16*>(nullptr));
}
// 0 beyond n
DURE_LANE_OP F16 load16_n(const float* p, int64_t n) {
  return load_n(p, n, static_cast<F16*>(nullptr));
}
DURE_LANE_OP F16 set16(float value) { return set(value, static_cast<F16*>(nullptr)); }

// Fixed trees: lane l with l + 8, then + 4, + 2, + 1.
template <class V>
DURE_LANE_OP float sum_tree4(V v) {  // v: 4 lanes
  v = hn::Add(v, hn::Shuffle1032(v));
  return hn::GetLane(hn::Add(v, hn::Shuffle2301(v)));
}
template <class V>
DURE_LANE_OP float max_tree4(V v) {
  v = hn::Max(v, hn::Shuffle1032(v));
  return hn::GetLane(hn::Max(v, hn::Shuffle2301(v)));
}
template <class D>
DURE_LANE_OP float sum_native(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return sum_native(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    return sum_tree4(v);
  }
}
template <class D>
DURE_LANE_OP float max_native(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return max_native(half, hn::Max(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    return max_tree4(v);
  }
}
DURE_LANE_OP float sum16(Native v) { return sum_native(NativeTag(), v); }
DURE_LANE_OP float max16(Native v) { return max_native(NativeTag(), v); }
DURE_PAIR_OP float sum16(Pair<H> v) { return sum16(add(v.lo, v.hi)); }
DURE_PAIR_OP float max16(Pair<H> v) { return max16(max(v.lo, v.hi)); }

#endif  // generic or native lanes

// Functions. Adding 1.5 * 2^23 rounds to an integer (ties to even) and leaves it in the low bits of
// the pattern.
constexpr float kRoundingMagic = 12582912.0f;

// exp(x) for -86.99 < x, within 1 ulp or so: x = n ln 2 + r, a polynomial of
// degree 6 in r whose coefficients are a Chebyshev fit of (e^r - 1 - r) / r^2 on |r| <= 0.3469.
DURE_LANE_OP F16 exp_reduced(F16 x) {
  const F16 magic = set16(kRoundingMagic);
  const F16 t = fma(x, set16(1.44269502f), magic);
  const F16 n = sub(t, magic);
  F16 r = fnma(n, set16(0.693147182f), x);
  r = fnma(n, set16(-1.90465421e-09f), r);
  F16 p = fma(set16(0.00139337336f), r, set16(0.00836323574f));
  p = fma(p, r, set16(0.041666463f));
  p = fma(p, r, set16(0.166665763f));
  p = fma(p, r, set16(0.5f));
  p = fma(mul(p, r), r, add(r, set16(1.0f)));
  return scale_by_power(p, t);
}

constexpr float kExpUnderflow =
    -86.9f;  // Below this (where e^x < 1.8e-38) exp gives 0: no denormal numbers.
constexpr float kExpOverflow = 88.7228317f;  // Above this it gives infinity.

// exp of what is never positive: 0 below the underflow, NaN for NaN.
DURE_LANE_OP F16 exp_of_nonpositive(F16 x) {
  return select(less(x, set16(kExpUnderflow)), set16(0.0f), exp_reduced(x));
}

DURE_LANE_OP F16 exp(F16 x) {
  return select(less(set16(kExpOverflow), x), set16(__builtin_inff()), exp_of_nonpositive(x));
}

DURE_LANE_OP F16 sigmoid(F16 x) {
  const F16 one = set16(1.0f);
  return div(one, add(one, exp(negate(x))));
}

// Sine and cosine of |x| < 6e6: x = q pi/2 + r with pi/2 in two pieces, polynomials on |r| <= 0.8;
// absolute error below 1.3e-7, as kernels/norm.h has it.
DURE_LANE_OP void sine_cosine(F16 x, F16& sine, F16& cosine) {
  const F16 magic = set16(kRoundingMagic);
  const F16 t = fma(x, set16(0.636619747f), magic);
  const F16 n = sub(t, magic);
  F16 r = fnma(n, set16(1.57079637f), x);
  r = fnma(n, set16(-4.37113883e-08f), r);
  const F16 z = mul(r, r);
  F16 s = fma(set16(-0.000195777859f), z, set16(0.00833270047f));
  s = fma(s, z, set16(-0.166666642f));
  s = fma(mul(s, z), r, r);
  F16 c = fma(set16(2.45378033e-05f), z, set16(-0.00138882548f));
  c = fma(c, z, set16(0.0416666642f));
  c = fma(mul(c, z), z, fnma(set16(0.5f), z, set16(1.0f)));
  const auto odd = bit_is_set(t, 1);
  sine = select(odd, c, s);
  cosine = select(odd, s, c);
  sine = select(bit_is_set(t, 2), negate(sine), sine);
  // The cosine is negative in quadrants 1 and 2: where bit 1 of q + 1 is set.
  cosine = select(bit_is_set(add(t, set16(1.0f)), 2), negate(cosine), cosine);
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
