// Bodies of rows.h, once per instruction set.
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rows.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/log.h"
#include "kernels/cpu/rows.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kWidthMax = 1024;  // of a head

DURE_LANE_OP float square_sum(const float* x, int64_t n) {
  F16 sum = set16(0.0f);
  for (int64_t c = 0; c < n; c += kLanes) {
    const F16 v = load16_n(x + c, n - c);
    sum = fma(v, v, sum);
  }
  return sum16(sum);
}

DURE_LANE_OP float inverse_root(float squares, int64_t n, float epsilon) { return 1.0f / std::sqrt(squares / static_cast<float>(n) + epsilon); }

// One normed row: y = x r w.
DURE_LANE_OP void norm_row(const float* x, const float* w, float r, float* y, int64_t n) {
  const F16 scale = set16(r);
  for (int64_t c = 0; c < n; c += kLanes) store_n(mul(mul(load16_n(x + c, n - c), scale), load16_n(w + c, n - c)), y + c, n - c);
}

// dx = r (dy w) - x r^3 / n * sum(dy w x); dw += dy x r.
DURE_LANE_OP void norm_row_backward(const float* x, const float* w, float r, const float* dy, float* dx, bool add_to_dx, float* dw, int64_t n) {
  F16 sum = set16(0.0f);
  for (int64_t c = 0; c < n; c += kLanes) {
    sum = fma(mul(load16_n(dy + c, n - c), load16_n(w + c, n - c)), load16_n(x + c, n - c), sum);
  }
  const F16 scale = set16(r), pull = set16(sum16(sum) * r * r * r / static_cast<float>(n));
  for (int64_t c = 0; c < n; c += kLanes) {
    const F16 vx = load16_n(x + c, n - c), g = load16_n(dy + c, n - c);
    F16 out = fnma(vx, pull, mul(mul(g, load16_n(w + c, n - c)), scale));
    if (add_to_dx) out = add(out, load16_n(dx + c, n - c));
    store_n(out, dx + c, n - c);
    store_n(add(load16_n(dw + c, n - c), mul(g, mul(vx, scale))), dw + c, n - c);
  }
}

// (u, v) -> (u cos - v sin, v cos + u sin) for the pairs (j, j + H/2); the other way round where `back`.
DURE_LANE_OP void turn(const float* in, const float* cosine, const float* sine, bool back, float* out, int64_t width) {
  const int64_t half = width / 2;
  for (int64_t j = 0; j < half; j += kLanes) {
    const F16 u = load16_n(in + j, half - j), v = load16_n(in + half + j, half - j), c = load16_n(cosine + j, half - j);
    F16 s = load16_n(sine + j, half - j);
    if (back) s = negate(s);
    store_n(fnma(v, s, mul(u, c)), out + j, half - j);
    store_n(fma(u, s, mul(v, c)), out + half + j, half - j);
  }
}

}  // namespace

HWY_ATTR void rms_norm_rows_(const float* x, const float* w, float epsilon, float* y, float* inverse_rms, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const float inverse = inverse_root(square_sum(x, n), n, epsilon);
    if (inverse_rms != nullptr) inverse_rms[r] = inverse;
    norm_row(x, w, inverse, y, n);
  }
}

HWY_ATTR void rms_norm_backward_rows_(const float* x, const float* w, const float* inverse_rms, const float* dy, float* dx, bool add_to_dx, float* dw,
                                      int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r) norm_row_backward(x + r * n, w, inverse_rms[r], dy + r * n, dx + r * n, add_to_dx, dw, n);
}

HWY_ATTR void head_norm_token_(const float* x, const float* w, float epsilon, const float* cosine, const float* sine, float* y, float* inverse_rms,
                               int64_t heads, int64_t width) {
  float normed[kWidthMax];
  for (int64_t h = 0; h < heads; ++h, x += width, y += width) {
    const float inverse = inverse_root(square_sum(x, width), width, epsilon);
    if (inverse_rms != nullptr) inverse_rms[h] = inverse;
    norm_row(x, w, inverse, cosine == nullptr ? y : normed, width);
    if (cosine != nullptr) turn(normed, cosine, sine, false, y, width);
  }
}

HWY_ATTR void head_norm_token_backward_(const float* x, const float* w, const float* cosine, const float* sine, const float* inverse_rms, const float* dy,
                                        float* dx, float* dw, int64_t heads, int64_t width) {
  float turned[kWidthMax];
  for (int64_t h = 0; h < heads; ++h, x += width, dy += width, dx += width) {
    if (cosine != nullptr) turn(dy, cosine, sine, true, turned, width);
    norm_row_backward(x, w, inverse_rms[h], cosine != nullptr ? turned : dy, dx, false, dw, width);
  }
}

HWY_ATTR void rope_angles_(const float* inverse_frequency, float position, float* cosine, float* sine, int64_t half) {
  for (int64_t j = 0; j < half; j += kLanes) {
    F16 s, c;
    sine_cosine(mul(set16(position), load16_n(inverse_frequency + j, half - j)), s, c);
    store_n(s, sine + j, half - j);
    store_n(c, cosine + j, half - j);
  }
}

HWY_ATTR void swiglu_span_(const float* gate, const float* up, float limit, float* h, int64_t n) {
  const F16 high = set16(limit), low = set16(-limit);
  for (int64_t i = 0; i < n; i += kLanes) {
    F16 g = load16_n(gate + i, n - i), u = load16_n(up + i, n - i);
    if (limit > 0) g = min(g, high), u = max(min(u, high), low);
    store_n(mul(mul(g, sigmoid(g)), u), h + i, n - i);
  }
}

// silu'(g) = s (1 + g (1 - s)). A clamped input has no gradient.
HWY_ATTR void swiglu_backward_span_(const float* gate, const float* up, float limit, const float* dh, float* dgate, float* dup, int64_t n) {
  const F16 one = set16(1.0f), zero = set16(0.0f), high = set16(limit), low = set16(-limit);
  for (int64_t i = 0; i < n; i += kLanes) {
    const F16 raw_g = load16_n(gate + i, n - i), raw_u = load16_n(up + i, n - i), d = load16_n(dh + i, n - i);
    const F16 g = limit > 0 ? min(raw_g, high) : raw_g, u = limit > 0 ? max(min(raw_u, high), low) : raw_u;
    const F16 s = sigmoid(g);
    F16 to_gate = mul(mul(d, u), mul(s, fma(g, sub(one, s), one)));
    F16 to_up = mul(d, mul(g, s));
    if (limit > 0) {
      to_gate = select(less(high, raw_g), zero, to_gate);
      to_up = select(less(high, raw_u), zero, select(less(raw_u, low), zero, to_up));
    }
    store_n(to_gate, dgate + i, n - i);
    store_n(to_up, dup + i, n - i);
  }
}

HWY_ATTR void sigmoid_span_(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store_n(sigmoid(load16_n(x + i, n - i)), y + i, n - i);
}

HWY_ATTR void add_span_(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store_n(add(load16_n(y + i, n - i), load16_n(x + i, n - i)), y + i, n - i);
}

HWY_ATTR void scale_span_(float a, const float* x, float* y, int64_t n) {
  const F16 scale = set16(a);
  for (int64_t i = 0; i < n; i += kLanes) store_n(mul(scale, load16_n(x + i, n - i)), y + i, n - i);
}

HWY_ATTR void scaled_add_span_(float a, const float* x, float* y, int64_t n) {
  const F16 scale = set16(a);
  for (int64_t i = 0; i < n; i += kLanes) store_n(add(load16_n(y + i, n - i), mul(scale, load16_n(x + i, n - i))), y + i, n - i);
}

HWY_ATTR float dot_span_(const float* a, const float* b, int64_t n) {
  F16 sum = set16(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) sum = fma(load16_n(a + i, n - i), load16_n(b + i, n - i), sum);
  return sum16(sum);
}

HWY_ATTR float log_sum_exp_row_(const float* logits, int64_t n, float* entropy) {
  const F16 least = set16(-__builtin_inff()), zero = set16(0.0f);
  F16 tops = least;
  for (int64_t i = 0; i < n; i += kLanes) tops = max(tops, keep_first(load16_n(logits + i, n - i), n - i, least));
  const float top = max16(tops);
  const F16 shift = set16(top);
  F16 sum = zero, weighted = zero;
  for (int64_t i = 0; i < n; i += kLanes) {
    const F16 d = sub(load16_n(logits + i, n - i), shift);
    const F16 e = keep_first(exp_of_nonpositive(d), n - i, zero);
    sum = add(sum, e);
    if (entropy != nullptr) weighted = fma(e, keep_first(d, n - i, zero), weighted);
  }
  const float total = sum16(sum), logarithm = log_f32(total);
  if (entropy != nullptr) *entropy = logarithm - sum16(weighted) / total;
  return top + logarithm;
}

HWY_ATTR void softmax_gradient_row_(float* logits, int64_t n, float log_sum_exp, float coefficient) {
  const F16 shift = set16(log_sum_exp), scale = set16(-coefficient);
  for (int64_t i = 0; i < n; i += kLanes) store_n(mul(scale, exp(sub(load16_n(logits + i, n - i), shift))), logits + i, n - i);
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(rms_norm_rows_);
HWY_EXPORT(rms_norm_backward_rows_);
HWY_EXPORT(head_norm_token_);
HWY_EXPORT(head_norm_token_backward_);
HWY_EXPORT(rope_angles_);
HWY_EXPORT(swiglu_span_);
HWY_EXPORT(swiglu_backward_span_);
HWY_EXPORT(sigmoid_span_);
HWY_EXPORT(add_span_);
HWY_EXPORT(scale_span_);
HWY_EXPORT(scaled_add_span_);
HWY_EXPORT(dot_span_);
HWY_EXPORT(log_sum_exp_row_);
HWY_EXPORT(softmax_gradient_row_);

void rms_norm_rows(const float* x, const float* w, float epsilon, float* y, float* inverse_rms, int64_t rows, int64_t columns) {
  DURE_DISPATCH(rms_norm_rows_)(x, w, epsilon, y, inverse_rms, rows, columns);
}
void rms_norm_backward_rows(const float* x, const float* w, const float* inverse_rms, const float* dy, float* dx, bool add, float* dw, int64_t rows,
                            int64_t columns) {
  DURE_DISPATCH(rms_norm_backward_rows_)(x, w, inverse_rms, dy, dx, add, dw, rows, columns);
}
void head_norm_token(const float* x, const float* w, float epsilon, const float* cosine, const float* sine, float* y, float* inverse_rms, int64_t heads,
                     int64_t width) {
  DURE_DISPATCH(head_norm_token_)(x, w, epsilon, cosine, sine, y, inverse_rms, heads, width);
}
void head_norm_token_backward(const float* x, const float* w, const float* cosine, const float* sine, const float* inverse_rms, const float* dy, float* dx,
                              float* dw, int64_t heads, int64_t width) {
  DURE_DISPATCH(head_norm_token_backward_)(x, w, cosine, sine, inverse_rms, dy, dx, dw, heads, width);
}
void rope_angles(const float* inverse_frequency, float position, float* cosine, float* sine, int64_t half) {
  DURE_DISPATCH(rope_angles_)(inverse_frequency, position, cosine, sine, half);
}
void swiglu_span(const float* gate, const float* up, float limit, float* h, int64_t n) { DURE_DISPATCH(swiglu_span_)(gate, up, limit, h, n); }
void swiglu_backward_span(const float* gate, const float* up, float limit, const float* dh, float* dgate, float* dup, int64_t n) {
  DURE_DISPATCH(swiglu_backward_span_)(gate, up, limit, dh, dgate, dup, n);
}
void sigmoid_span(const float* x, float* y, int64_t n) { DURE_DISPATCH(sigmoid_span_)(x, y, n); }
void add_span(const float* x, float* y, int64_t n) { DURE_DISPATCH(add_span_)(x, y, n); }
void scale_span(float a, const float* x, float* y, int64_t n) { DURE_DISPATCH(scale_span_)(a, x, y, n); }
void scaled_add_span(float a, const float* x, float* y, int64_t n) { DURE_DISPATCH(scaled_add_span_)(a, x, y, n); }
float dot_span(const float* a, const float* b, int64_t n) { return DURE_DISPATCH(dot_span_)(a, b, n); }
float log_sum_exp_row(const float* logits, int64_t n, float* entropy) { return DURE_DISPATCH(log_sum_exp_row_)(logits, n, entropy); }
void softmax_gradient_row(float* logits, int64_t n, float log_sum_exp, float coefficient) {
  DURE_DISPATCH(softmax_gradient_row_)(logits, n, log_sum_exp, coefficient);
}

}  // namespace dure::cpu
#endif
