// The element-wise loops by Highway: one source, compiled for each instruction set, chosen at run
// time.
#include "kernels/cpu/optimiser_simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimiser_simd.cc"
#include "hwy/foreach_target.h"
#include "kernels/isa.h"
//
#include <cmath>
#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using Vec = hn::Vec<D>;

// a * b + c with one rounding on every target, so that all instruction sets give the same bits.
HWY_INLINE Vec Fused(D d, Vec a, Vec b, Vec c) {
#if HWY_NATIVE_FMA
  (void)d;
  return hn::MulAdd(a, b, c);
#else
  alignas(64) float x[16], y[16], z[16];
  hn::Store(a, d, x);
  hn::Store(b, d, y);
  hn::Store(c, d, z);
  for (size_t i = 0; i < hn::Lanes(d); ++i) x[i] = std::fma(x[i], y[i], z[i]);
  return hn::Load(d, x);
#endif
}

HWY_INLINE void AdamWVector(D d, const AdamWScalars& s, float* w, const float* g, float* m,
                            float* v) {
  const Vec gradient = hn::Mul(hn::LoadU(d, g), hn::Set(d, s.gradient_scale));
  const Vec first = Fused(d, hn::Set(d, s.beta1), hn::LoadU(d, m),
                          hn::Mul(hn::Set(d, s.one_minus_beta1), gradient));
  const Vec scaled = hn::Mul(hn::Set(d, s.one_minus_beta2), gradient);
  const Vec second = Fused(d, hn::Set(d, s.beta2), hn::LoadU(d, v), hn::Mul(scaled, gradient));
  const Vec root = Fused(d, hn::Sqrt(second), hn::Set(d, s.root_scale), hn::Set(d, s.epsilon));
  const Vec kept = hn::Mul(hn::LoadU(d, w), hn::Set(d, s.keep));
  hn::StoreU(first, d, m);
  hn::StoreU(second, d, v);
  hn::StoreU(hn::Sub(kept, hn::Div(hn::Mul(hn::Set(d, s.rate), first), root)), d, w);
}

void AdamWSpan(const AdamWScalars& s, float* w, const float* g, float* m, float* v, int64_t count) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) AdamWVector(d, s, w + i, g + i, m + i, v + i);
  if (i == count) return;
  // The rest goes through the same instructions, so a split changes no bits.
  float tail[4][16] = {};
  const size_t bytes = static_cast<size_t>(count - i) * sizeof(float);
  std::memcpy(tail[0], w + i, bytes);
  std::memcpy(tail[1], g + i, bytes);
  std::memcpy(tail[2], m + i, bytes);
  std::memcpy(tail[3], v + i, bytes);
  AdamWVector(d, s, tail[0], tail[1], tail[2], tail[3]);
  std::memcpy(w + i, tail[0], bytes);
  std::memcpy(m + i, tail[2], bytes);
  std::memcpy(v + i, tail[3], bytes);
}

// Below, the ends of spans are plain C++: products and sums alone, each rounded by itself.

void MomentumSpan(const MomentumScalars& s, const float* g, float* m, float* update,
                  int64_t count) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Vec decay = hn::Set(d, s.decay), scale = hn::Set(d, s.gradient_scale);
  const Vec own = hn::Set(d, s.own), ahead = hn::Set(d, s.look_ahead);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const Vec gradient = hn::LoadU(d, g + i);
    const Vec next = hn::Add(hn::Mul(decay, hn::LoadU(d, m + i)), hn::Mul(scale, gradient));
    hn::StoreU(next, d, m + i);
    hn::StoreU(hn::Add(hn::Mul(own, gradient), hn::Mul(ahead, next)), d, update + i);
  }
  for (; i < count; ++i) {
    m[i] = s.decay * m[i] + s.gradient_scale * g[i];
    update[i] = s.own * g[i] + s.look_ahead * m[i];
  }
}

void ScaleSpan(float factor, float* x, int64_t count) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, factor)), d, x + i);
  for (; i < count; ++i) x[i] *= factor;
}

void MoveSpan(float keep, float rate, const float* update, float* w, int64_t count) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const Vec kept = hn::Mul(hn::Set(d, keep), hn::LoadU(d, w + i));
    hn::StoreU(hn::Sub(kept, hn::Mul(hn::Set(d, rate), hn::LoadU(d, update + i))), d, w + i);
  }
  for (; i < count; ++i) w[i] = keep * w[i] - rate * update[i];
}

// A product of two floats is exact in double, so fused or not is one.
double SquaresSpan(const float* x, int64_t count) {
  HWY_ALIGN double sums[8] = {};
  int64_t i = 0;
#if HWY_MAX_BYTES >= 32
  using Wide = hn::CappedTag<double, 8>;
  const Wide d;
  const hn::Rebind<float, Wide> narrow;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int kVecs = 64 / HWY_MAX_BYTES;
  hn::Vec<Wide> sum[kVecs];
  for (int v = 0; v < kVecs; ++v) sum[v] = hn::Zero(d);
  for (; i + 8 <= count; i += 8) {
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) {
      const auto value = hn::PromoteTo(d, hn::LoadU(narrow, x + i + v * lanes));
      sum[v] = hn::Add(sum[v], hn::Mul(value, value));
    }
  }
  for (int v = 0; v < kVecs; ++v) hn::Store(sum[v], d, sums + v * lanes);
#endif
  for (int64_t j = 0; i < count; ++i, j = (j + 1) % 8)
    sums[j] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(AdamWSpan);
HWY_EXPORT(MomentumSpan);
HWY_EXPORT(ScaleSpan);
HWY_EXPORT(MoveSpan);
HWY_EXPORT(SquaresSpan);

void adamw_span(const AdamWScalars& s, float* w, const float* g, float* m, float* v,
                int64_t count) {
  DURE_DISPATCH(AdamWSpan)(s, w, g, m, v, count);
}
void momentum_span(const MomentumScalars& s, const float* g, float* m, float* update,
                   int64_t count) {
  DURE_DISPATCH(MomentumSpan)(s, g, m, update, count);
}
void scale_span(float factor, float* x, int64_t count) {
  DURE_DISPATCH(ScaleSpan)(factor, x, count);
}
void move_span(float keep, float rate, const float* update, float* w, int64_t count) {
  DURE_DISPATCH(MoveSpan)(keep, rate, update, w, count);
}
double squares_span(const float* x, int64_t count) { return DURE_DISPATCH(SquaresSpan)(x, count); }

}  // namespace dure::cpu
#endif
