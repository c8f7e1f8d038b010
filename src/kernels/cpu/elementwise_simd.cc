// SwiGLU, its gradient and y += x, sixteen lanes at a time; a rest goes through the same lanes,
// loaded and stored in part. One source, compiled for each instruction set (kernels/isa.h).
#include "kernels/cpu/elementwise_simd.h"

#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise_simd.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {
namespace {

// Comparisons, not min and max: NaN passes through.
DURE_LANE_OP F16 clamp_above(F16 x, F16 limit) { return select(less(limit, x), limit, x); }
DURE_LANE_OP F16 clamp_below(F16 x, F16 limit) { return select(less(x, limit), limit, x); }

bool is_plain(const Swiglu& s) { return s.alpha == 1 && s.offset == 0; }

// silu, or with the alpha and the offset of another family: chosen outside the loop.
template <bool kPlain>
HWY_ATTR HWY_NOINLINE void forward_range(const Swiglu& s, int64_t first, int64_t last) {
  const F16 alpha = set16(s.alpha), offset = set16(s.offset), limit = set16(s.limit),
            low = set16(-s.limit);
  for (int64_t i = first; i < last; i += kLanes) {
    const int64_t n = last - i;
    F16 g = load16_n(s.gate + i, n), u = load16_n(s.up + i, n);
    if (s.limit > 0) {
      g = clamp_above(g, limit);
      u = clamp_below(clamp_above(u, limit), low);
    }
    const F16 p = sigmoid(kPlain ? g : mul(alpha, g));
    store_n(mul(mul(g, p), kPlain ? u : add(u, offset)), s.h + i, n);
  }
}

// d g s / dg = s (1 + alpha g (1 - s)), s = sigmoid(alpha g). A clamped input has no gradient; one
// at the limit itself has.
template <bool kPlain>
HWY_ATTR HWY_NOINLINE void gradient_range(const Swiglu& s, int64_t first, int64_t last) {
  const F16 alpha = set16(s.alpha), offset = set16(s.offset), limit = set16(s.limit),
            low = set16(-s.limit), zero = set16(0.0f), one = set16(1.0f);
  for (int64_t i = first; i < last; i += kLanes) {
    const int64_t n = last - i;
    const F16 gate = load16_n(s.gate + i, n), up = load16_n(s.up + i, n),
              dh = load16_n(s.dh + i, n);
    const F16 g = s.limit > 0 ? clamp_above(gate, limit) : gate;
    F16 u = s.limit > 0 ? clamp_below(clamp_above(up, limit), low) : up;
    if constexpr (!kPlain) u = add(u, offset);
    const F16 z = kPlain ? g : mul(alpha, g), p = sigmoid(z);
    F16 dgate = mul(mul(dh, u), mul(p, fma(z, sub(one, p), one)));
    F16 dup = mul(dh, mul(g, p));
    if (s.limit > 0) {
      dgate = select(less(limit, gate), zero, dgate);
      dup = select(less(limit, up), zero, select(less(up, low), zero, dup));
    }
    store_n(dgate, s.dgate + i, n);
    store_n(dup, s.dup + i, n);
  }
}

}  // namespace

void swiglu_forward(const Swiglu& s, int64_t first, int64_t last) {
  is_plain(s) ? forward_range<true>(s, first, last) : forward_range<false>(s, first, last);
}

void swiglu_gradient(const Swiglu& s, int64_t first, int64_t last) {
  is_plain(s) ? gradient_range<true>(s, first, last) : gradient_range<false>(s, first, last);
}

void add_lanes(const float* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(add(load16(y + i), load16(x + i)), y + i);
  if (i < count)
    store_n(add(load16_n(y + i, count - i), load16_n(x + i, count - i)), y + i, count - i);
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(swiglu_forward);
HWY_EXPORT(swiglu_gradient);
HWY_EXPORT(add_lanes);

void swiglu_range(const Swiglu& s, int64_t first, int64_t last) {
  DURE_DISPATCH(swiglu_forward)(s, first, last);
}
void swiglu_backward_range(const Swiglu& s, int64_t first, int64_t last) {
  DURE_DISPATCH(swiglu_gradient)(s, first, last);
}
void add_range(const float* x, float* y, int64_t count) { DURE_DISPATCH(add_lanes)(x, y, count); }

}  // namespace dure::cpu
#endif
