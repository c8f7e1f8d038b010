// Norms row by row; with rotation, a token's angles are computed once for all of its heads. dw is
// that of the given rows alone: norm.cc adds up. One source, compiled for each instruction set
// (kernels/isa.h).
#include "kernels/cpu/norm_simd.h"

#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm_simd.cc"
#include <hwy/foreach_target.h>

#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu::HWY_NAMESPACE {
namespace {

HWY_ATTR float inverse_rms_of(const float* x, int64_t columns, float epsilon) {
  F16 sum = set16(0.0f);
  for (int64_t c = 0; c < columns; c += kLanes) {
    const F16 value = load16_n(x + c, columns - c);
    sum = fma(value, value, sum);
  }
  return 1.0f / std::sqrt(sum16(sum) / static_cast<float>(columns) + epsilon);
}

HWY_ATTR void normalise(const float* x, const float* w, float inverse_rms, int64_t columns,
                        float* y) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const int64_t n = columns - c;
    store_n(mul(mul(load16_n(x + c, n), set16(inverse_rms)), load16_n(w + c, n)), y + c, n);
  }
}

// dx = r w dy - x r^3 sum(dy w x) / C, set or added; dw += dy x r.
HWY_ATTR void row_backward(const NormRows& n, const float* x, const float* dy, float r, float* dx,
                           float* dw) {
  F16 sum = set16(0.0f);
  for (int64_t c = 0; c < n.columns; c += kLanes) {
    const int64_t left = n.columns - c;
    sum = fma(mul(load16_n(dy + c, left), load16_n(n.w + c, left)), load16_n(x + c, left), sum);
  }
  const F16 rate = set16(r), pull = set16(r * r * r * (sum16(sum) / static_cast<float>(n.columns)));
  for (int64_t c = 0; c < n.columns; c += kLanes) {
    const int64_t left = n.columns - c;
    const F16 input = load16_n(x + c, left), upstream = load16_n(dy + c, left);
    F16 d = fnma(input, pull, mul(mul(upstream, load16_n(n.w + c, left)), rate));
    if (n.write == Write::kAdd) d = add(load16_n(dx + c, left), d);
    store_n(fma(upstream, mul(input, rate), load16_n(dw + c, left)), dw + c, left);
    store_n(d, dx + c, left);
  }
}

struct Turns {
  alignas(64) float cosine[kHeadWidthMax / 2], sine[kHeadWidthMax / 2];
};
HWY_ATTR void turns_at(int32_t position, const float* inverse_frequency, int64_t half,
                       Turns& turns) {
  for (int64_t j = 0; j < half; j += kLanes) {
    F16 sine, cosine;
    sine_cosine(mul(set16(static_cast<float>(position)), load16_n(inverse_frequency + j, half - j)),
                sine, cosine);
    store(cosine, turns.cosine + j);
    store(sine, turns.sine + j);
  }
}
HWY_ATTR HWY_NOINLINE void scale_turns(float scale, int64_t half, Turns& turns) {
  for (int64_t j = 0; j < half; j += kLanes) {
    store(mul(load16(turns.cosine + j), set16(scale)), turns.cosine + j);
    store(mul(load16(turns.sine + j), set16(scale)), turns.sine + j);
  }
}
// The turns of one token's heads; without frequencies none.
DURE_LANE_OP void turns_of(const NormRows& n, int64_t token, int64_t half, Turns& turns) {
  if (n.inverse_frequency == nullptr) return;
  turns_at(n.positions[token], n.inverse_frequency, half, turns);
  if (n.rope_scale != 1) scale_turns(n.rope_scale, half, turns);
}

// y = x turned by the angles, or (backward) by their negatives. y may be x.
HWY_ATTR void turn(const Turns& turns, const float* x, int64_t half, bool backward, float* y) {
  for (int64_t j = 0; j < half; j += kLanes) {
    const int64_t n = half - j;
    const F16 u = load16_n(x + j, n), v = load16_n(x + half + j, n),
              cosine = load16(turns.cosine + j);
    const F16 sine = backward ? negate(load16(turns.sine + j)) : load16(turns.sine + j);
    store_n(fnma(v, sine, mul(u, cosine)), y + j, n);
    store_n(fma(u, sine, mul(v, cosine)), y + half + j, n);
  }
}

}  // namespace

void rms_rows(const NormRows& n, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    const float r = inverse_rms_of(n.x + i * n.columns, n.columns, n.epsilon);
    normalise(n.x + i * n.columns, n.w, r, n.columns, n.y + i * n.columns);
    if (n.inverse_rms != nullptr) n.inverse_rms[i] = r;
  }
}

void head_rows(const NormRows& n, int64_t first, int64_t last) {
  Turns turns;
  const int64_t half = n.columns / 2;
  for (int64_t t = first; t < last; ++t) {
    turns_of(n, t, half, turns);
    rms_rows(n, t * n.heads, (t + 1) * n.heads);
    if (n.inverse_frequency == nullptr) continue;
    for (int64_t i = t * n.heads; i < (t + 1) * n.heads; ++i)
      turn(turns, n.y + i * n.columns, half, false, n.y + i * n.columns);
  }
}

void rms_backward(const NormRows& n, int64_t first, int64_t last, float* dw) {
  std::fill_n(dw, n.columns, 0.0f);
  for (int64_t i = first; i < last; ++i) {
    row_backward(n, n.x + i * n.columns, n.dy + i * n.columns, n.saved_inverse_rms[i],
                 n.dx + i * n.columns, dw);
  }
}

void head_backward(const NormRows& n, int64_t first, int64_t last, float* dw) {
  Turns turns;
  alignas(64) float turned[kHeadWidthMax];
  const int64_t half = n.columns / 2;
  std::fill_n(dw, n.columns, 0.0f);
  for (int64_t t = first; t < last; ++t) {
    turns_of(n, t, half, turns);
    for (int64_t i = t * n.heads; i < (t + 1) * n.heads; ++i) {
      const float* dy = n.dy + i * n.columns;
      if (n.inverse_frequency != nullptr) {
        turn(turns, dy, half, true, turned);
        dy = turned;
      }
      row_backward(n, n.x + i * n.columns, dy, n.saved_inverse_rms[i], n.dx + i * n.columns, dw);
    }
  }
}

namespace {

// Heads of tokens turned by their angles or back, or copied.
HWY_ATTR void turn_heads(const NormRows& n, int64_t first, int64_t last, const float* from,
                         bool backward, float* to) {
  Turns turns;
  const int64_t width = n.heads * n.columns;
  if (n.inverse_frequency == nullptr) {
    std::copy_n(from + first * width, (last - first) * width, to + first * width);
    return;
  }
  for (int64_t t = first; t < last; ++t) {
    turns_of(n, t, n.columns / 2, turns);
    for (int64_t i = t * n.heads; i < (t + 1) * n.heads; ++i)
      turn(turns, from + i * n.columns, n.columns / 2, backward, to + i * n.columns);
  }
}

}  // namespace

void rope_rows(const NormRows& n, int64_t first, int64_t last) {
  turn_heads(n, first, last, n.x, false, n.y);
}

void rope_backward(const NormRows& n, int64_t first, int64_t last) {
  turn_heads(n, first, last, n.dy, true, n.dx);
}

}  // namespace dure::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {

HWY_EXPORT(rms_rows);
HWY_EXPORT(head_rows);
HWY_EXPORT(rms_backward);
HWY_EXPORT(head_backward);
HWY_EXPORT(rope_rows);
HWY_EXPORT(rope_backward);

void rms_norm_rows(const NormRows& n, int64_t first, int64_t last) {
  DURE_DISPATCH(rms_rows)(n, first, last);
}
void head_norm_rope_rows(const NormRows& n, int64_t first, int64_t last) {
  DURE_DISPATCH(head_rows)(n, first, last);
}
void head_rope_rows(const NormRows& n, int64_t first, int64_t last) {
  DURE_DISPATCH(rope_rows)(n, first, last);
}
void head_rope_backward_rows(const NormRows& n, int64_t first, int64_t last) {
  DURE_DISPATCH(rope_backward)(n, first, last);
}
void rms_norm_backward_rows(const NormRows& n, int64_t first, int64_t last, float* dw) {
  DURE_DISPATCH(rms_backward)(n, first, last, dw);
}
void head_norm_rope_backward_rows(const NormRows& n, int64_t first, int64_t last, float* dw) {
  DURE_DISPATCH(head_backward)(n, first, last, dw);
}

}  // namespace dure::cpu
#endif
