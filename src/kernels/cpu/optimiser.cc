// AdamW, Muon and sums of squares by Highway: one source, compiled for each instruction set, chosen
// at run time.
//
// The matrix product of Muon is its own: three small shapes, f32, C = alpha A B + beta D,
// accumulated over k in ascending order by fused multiply-adds, so that a Gram matrix comes out
// exactly symmetric (half is computed).
#include "kernels/optimiser.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimiser.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef DURE_KERNELS_CPU_OPTIMISER_TYPES
#define DURE_KERNELS_CPU_OPTIMISER_TYPES
namespace dure::optimiser_detail {

struct AdamWScalars {  // The step's constants, folded in double and rounded once.
  float keep, beta1, one_minus_beta1, beta2, one_minus_beta2, rate, root_scale, epsilon,
      gradient_scale;
};

// C[m, n] = alpha * A[m, k] B[k, n] + beta * D[m, n], dense rows; D may be null (beta 0). C aliases
// nothing. symmetric: m == n and the product is symmetric; only tiles that touch the upper triangle
// are computed, then mirrored.
struct Product {
  const float* a;
  const float* b;
  const float* d;
  float* c;
  int64_t m, n, k;
  float alpha, beta;
  bool symmetric;
};

constexpr int64_t kRowBlock = 96;     // Rows of C a task computes against one packed panel.
constexpr int64_t kDepthBlock = 256;  // k values packed at a time: 32 KiB of panel at 32 columns.
constexpr int64_t kPanelMax = 32;     // Columns of a panel: two vectors of at most 16 lanes.

}  // namespace dure::optimiser_detail
#endif

HWY_BEFORE_NAMESPACE();
namespace dure {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using optimiser_detail::AdamWScalars;
using optimiser_detail::kDepthBlock;
using optimiser_detail::kPanelMax;
using optimiser_detail::kRowBlock;
using optimiser_detail::Product;

using D = hn::CappedTag<float, 16>;
using Vec = hn::Vec<D>;

// a * b + c with one rounding on every target, so that all instruction sets give the same bits.
HWY_INLINE Vec fused(D d, Vec a, Vec b, Vec c) {
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

HWY_INLINE void adamw_vector(D d, const AdamWScalars& s, float* w, const float* g, float* m,
                             float* v) {
  const Vec gradient = hn::Mul(hn::LoadU(d, g), hn::Set(d, s.gradient_scale));
  const Vec first = fused(d, hn::Set(d, s.beta1), hn::LoadU(d, m),
                          hn::Mul(hn::Set(d, s.one_minus_beta1), gradient));
  const Vec scaled = hn::Mul(hn::Set(d, s.one_minus_beta2), gradient);
  const Vec second = fused(d, hn::Set(d, s.beta2), hn::LoadU(d, v), hn::Mul(scaled, gradient));
  const Vec root = fused(d, hn::Sqrt(second), hn::Set(d, s.root_scale), hn::Set(d, s.epsilon));
  const Vec kept = hn::Mul(hn::LoadU(d, w), hn::Set(d, s.keep));
  hn::StoreU(first, d, m);
  hn::StoreU(second, d, v);
  hn::StoreU(hn::Sub(kept, hn::Div(hn::Mul(hn::Set(d, s.rate), first), root)), d, w);
}

void adamw_span(const AdamWScalars& s, float* w, const float* g, float* m, float* v,
                int64_t count) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) adamw_vector(d, s, w + i, g + i, m + i, v + i);
  if (i == count) return;
  float tail[4][16] =
      {};  // The rest goes through the same instructions, so a split changes no bits.
  const size_t bytes = static_cast<size_t>(count - i) * sizeof(float);
  std::memcpy(tail[0], w + i, bytes);
  std::memcpy(tail[1], g + i, bytes);
  std::memcpy(tail[2], m + i, bytes);
  std::memcpy(tail[3], v + i, bytes);
  adamw_vector(d, s, tail[0], tail[1], tail[2], tail[3]);
  std::memcpy(w + i, tail[0], bytes);
  std::memcpy(m + i, tail[2], bytes);
  std::memcpy(v + i, tail[3], bytes);
}

// Two vectors wide, kRows high: accumulators stay in registers over one depth block.
// panel: [depth, 2 lanes] packed. first/last: whether this depth block opens and closes the sum
// held in C.
template <int kRows>
HWY_INLINE void product_tile(D d, const Product& p, const float* panel, int64_t row, int64_t column,
                             int64_t depth_begin, int64_t depth, int64_t width, bool first,
                             bool last) {
  const size_t lanes = hn::Lanes(d);
  Vec low[kRows], high[kRows];
  alignas(64) float edge[kPanelMax];
  const bool whole = width == static_cast<int64_t>(2 * lanes);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    low[r] = hn::Zero(d);
    high[r] = hn::Zero(d);
    if (first) continue;
    const float* c = p.c + (row + r) * p.n + column;
    if (!whole) {
      std::memset(edge, 0, sizeof(edge));
      std::memcpy(edge, c, static_cast<size_t>(width) * sizeof(float));
      c = edge;
    }
    low[r] = hn::LoadU(d, c);
    high[r] = hn::LoadU(d, c + lanes);
  }
  const float* a = p.a + row * p.k + depth_begin;
  for (int64_t l = 0; l < depth; ++l, ++a) {
    const Vec b0 = hn::Load(d, panel), b1 = hn::Load(d, panel + lanes);
    panel += 2 * lanes;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec value = hn::Set(d, a[r * p.k]);
      low[r] = fused(d, value, b0, low[r]);
      high[r] = fused(d, value, b1, high[r]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const int64_t at = (row + r) * p.n + column;
    if (whole) {
      if (last) {  // The same two products and one sum as at the edge below.
        const Vec alpha = hn::Set(d, p.alpha), beta = hn::Set(d, p.beta);
        Vec more_low = hn::Zero(d), more_high = hn::Zero(d);
        if (p.d != nullptr) {
          more_low = hn::Mul(beta, hn::LoadU(d, p.d + at));
          more_high = hn::Mul(beta, hn::LoadU(d, p.d + at + lanes));
        }
        low[r] = hn::Add(hn::Mul(alpha, low[r]), more_low);
        high[r] = hn::Add(hn::Mul(alpha, high[r]), more_high);
      }
      hn::StoreU(low[r], d, p.c + at);
      hn::StoreU(high[r], d, p.c + at + lanes);
      continue;
    }
    hn::Store(low[r], d, edge);
    hn::Store(high[r], d, edge + lanes);
    if (last) {
      for (int64_t j = 0; j < width; ++j)
        edge[j] = p.alpha * edge[j] + (p.d != nullptr ? p.beta * p.d[at + j] : 0.0f);
    }
    std::memcpy(p.c + at, edge, static_cast<size_t>(width) * sizeof(float));
  }
}

// width floats of `b`, then zeros up to two vectors.
HWY_INLINE void pack_row(D d, const float* b, int64_t width, float* out) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if (width == 2 * lanes) {
    hn::Store(hn::LoadU(d, b), d, out);
    hn::Store(hn::LoadU(d, b + lanes), d, out + lanes);
    return;
  }
  for (int64_t j = 0; j < 2 * lanes; ++j) out[j] = j < width ? b[j] : 0.0f;
}

// Rows [row_begin, row_end) of one panel of columns.
void product_panel(const Product& p, int64_t row_begin, int64_t row_end, int64_t column) {
  const D d;
  // 24 of 32, or 12 of 16, vector registers accumulate.
  constexpr int kTall = HWY_MAX_BYTES >= 64 ? 12 : 6;
  const int64_t panel_width = static_cast<int64_t>(2 * hn::Lanes(d));
  const int64_t width = std::min(panel_width, p.n - column);
  HWY_ALIGN float panel[kDepthBlock * kPanelMax];
  for (int64_t depth_begin = 0; depth_begin < p.k; depth_begin += kDepthBlock) {
    const int64_t depth = std::min(kDepthBlock, p.k - depth_begin);
    const float* b = p.b + depth_begin * p.n + column;
    for (int64_t l = 0; l < depth; ++l, b += p.n) pack_row(d, b, width, panel + l * panel_width);
    const bool first = depth_begin == 0, last = depth_begin + depth == p.k;
    int64_t row = row_begin;
    for (; row + kTall <= row_end; row += kTall)
      product_tile<kTall>(d, p, panel, row, column, depth_begin, depth, width, first, last);
    for (; row + 4 <= row_end; row += 4)
      product_tile<4>(d, p, panel, row, column, depth_begin, depth, width, first, last);
    for (; row < row_end; ++row)
      product_tile<1>(d, p, panel, row, column, depth_begin, depth, width, first, last);
  }
}

int64_t panel_columns() { return static_cast<int64_t>(2 * hn::Lanes(D())); }

}  // namespace HWY_NAMESPACE
}  // namespace dure
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure {
namespace {

HWY_EXPORT(adamw_span);
HWY_EXPORT(product_panel);
HWY_EXPORT(panel_columns);
using optimiser_detail::AdamWScalars;
using optimiser_detail::kRowBlock;
using optimiser_detail::Product;

void mirror_upper(float* c, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) c[i * n + j] = c[j * n + i];
  }
}

void multiply(const Product& p, ThreadPool& threads) {
  const int64_t wide = DURE_DISPATCH(panel_columns)();
  const auto panel = DURE_DISPATCH(product_panel);
  const int64_t columns = (p.n + wide - 1) / wide, blocks = (p.m + kRowBlock - 1) / kRowBlock;
  threads.parallel_for(columns * blocks, [&](int64_t task, int) {
    const int64_t column = task % columns * wide, row = task / columns * kRowBlock;
    const int64_t row_end = std::min(p.m, row + kRowBlock);
    if (!p.symmetric) return panel(p, row, row_end, column);
    // Rows below the panel's last column lie wholly under the diagonal.
    if (const int64_t needed = std::min(row_end, column + wide); row < needed)
      panel(p, row, needed, column);
  });
  if (p.symmetric) mirror_upper(p.c, p.n);
}

constexpr int64_t kTransposeTile = 16;

// out[cols, rows] = in[rows, cols]^T
void transpose(const float* in, float* out, int64_t rows, int64_t cols) {
  for (int64_t i0 = 0; i0 < rows; i0 += kTransposeTile) {
    for (int64_t j0 = 0; j0 < cols; j0 += kTransposeTile) {
      const int64_t i1 = std::min(rows, i0 + kTransposeTile),
                    j1 = std::min(cols, j0 + kTransposeTile);
      for (int64_t j = j0; j < j1; ++j) {
        for (int64_t i = i0; i < i1; ++i) out[j * rows + i] = in[i * cols + j];
      }
    }
  }
}

// Scratch of muon_orthogonalise for m <= n: x^T and the next x [m, n], the Gram matrix and its
// polynomial [m, m].
struct MuonScratch {
  float *turned, *next, *gram, *polynomial;
  MuonScratch(std::span<float> scratch, int64_t m, int64_t n)
      : turned(scratch.data()),
        next(turned + m * n),
        gram(next + m * n),
        polynomial(gram + m * m) {}
};

void scale_to_unit(float* x, int64_t count) {
  const double norm = std::sqrt(sum_of_squares({x, static_cast<size_t>(count)})) + 1e-7;
  const float factor = static_cast<float>(1 / norm);
  for (int64_t i = 0; i < count; ++i) x[i] *= factor;
}

// result: x [m, n] with m <= n on the way in.
void newton_schulz(float* result, int64_t m, int64_t n, int iterations, const MuonScratch& s,
                   ThreadPool& threads) {
  constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;
  float *x = result, *next = s.next;
  for (int i = 0; i < iterations; ++i) {
    transpose(x, s.turned, m, n);
    multiply({.a = x,
              .b = s.turned,
              .d = nullptr,
              .c = s.gram,
              .m = m,
              .n = m,
              .k = n,
              .alpha = 1,
              .beta = 0,
              .symmetric = true},
             threads);
    multiply({.a = s.gram,
              .b = s.gram,
              .d = s.gram,
              .c = s.polynomial,
              .m = m,
              .n = m,
              .k = m,
              .alpha = kC,
              .beta = kB,
              .symmetric = true},
             threads);
    multiply({.a = s.polynomial,
              .b = x,
              .d = x,
              .c = next,
              .m = m,
              .n = n,
              .k = m,
              .alpha = 1,
              .beta = kA,
              .symmetric = false},
             threads);
    std::swap(x, next);
  }
  if (x != result) std::memcpy(result, x, static_cast<size_t>(m * n) * sizeof(float));
}

}  // namespace

void adamw_update(std::span<float> w, std::span<const float> g, std::span<float> m,
                  std::span<float> v, const AdamWStep& s) {
  DURE_CHECK(g.size() == w.size() && m.size() == w.size() && v.size() == w.size() && s.step >= 1);
  const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(s.step));
  const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(s.step));
  const AdamWScalars scalars{.keep = static_cast<float>(1 - s.learning_rate * s.weight_decay),
                             .beta1 = static_cast<float>(s.beta1),
                             .one_minus_beta1 = static_cast<float>(1 - s.beta1),
                             .beta2 = static_cast<float>(s.beta2),
                             .one_minus_beta2 = static_cast<float>(1 - s.beta2),
                             .rate = static_cast<float>(s.learning_rate / correction1),
                             .root_scale = static_cast<float>(1 / std::sqrt(correction2)),
                             .epsilon = static_cast<float>(s.epsilon),
                             .gradient_scale = static_cast<float>(s.gradient_scale)};
  DURE_DISPATCH(adamw_span)
  (scalars, w.data(), g.data(), m.data(), v.data(), static_cast<int64_t>(w.size()));
}

double sum_of_squares(std::span<const float> x) {
  double lanes[8] = {};
  size_t i = 0;
  for (; i + 8 <= x.size(); i += 8) {
    for (size_t j = 0; j < 8; ++j)
      lanes[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  }
  for (size_t j = 0; i + j < x.size(); ++j)
    lanes[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

int64_t muon_scratch_floats(int64_t rows, int64_t cols) {
  const int64_t m = std::min(rows, cols), n = std::max(rows, cols);
  return rows * cols + 2 * m * n + 2 * m * m +
         m * n;  // The update, then MuonScratch, then a turned copy of a tall one.
}

void muon_orthogonalise(float* x, int64_t rows, int64_t cols, int iterations,
                        std::span<float> scratch, ThreadPool& threads) {
  const int64_t m = std::min(rows, cols), n = std::max(rows, cols);
  DURE_CHECK(static_cast<int64_t>(scratch.size()) >= muon_scratch_floats(rows, cols) - rows * cols);
  scale_to_unit(x, rows * cols);
  const MuonScratch s(scratch, m, n);
  if (rows <= cols) return newton_schulz(x, m, n, iterations, s, threads);
  float* turned = s.polynomial + m * m;
  transpose(x, turned, rows, cols);
  newton_schulz(turned, m, n, iterations, s, threads);
  transpose(turned, x, m, n);
}

void muon_update(float* w, const float* g, float* momentum, int64_t rows, int64_t cols,
                 const MuonStep& step, std::span<float> scratch, ThreadPool& threads) {
  const int64_t count = rows * cols;
  DURE_CHECK(static_cast<int64_t>(scratch.size()) >= muon_scratch_floats(rows, cols));
  float* update = scratch.data();
  const float mu = static_cast<float>(step.momentum),
              gradient_scale = static_cast<float>(step.gradient_scale);
  const float look_ahead = step.nesterov ? mu : 1.0f, own = step.nesterov ? gradient_scale : 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    momentum[i] = mu * momentum[i] + gradient_scale * g[i];
    update[i] = own * g[i] + look_ahead * momentum[i];
  }
  muon_orthogonalise(update, rows, cols, step.iterations,
                     scratch.subspan(static_cast<size_t>(count)), threads);
  const float keep = static_cast<float>(1 - step.learning_rate * step.weight_decay);
  const float rate = static_cast<float>(step.learning_rate * 0.2 *
                                        std::sqrt(static_cast<double>(std::max(rows, cols))));
  for (int64_t i = 0; i < count; ++i) w[i] = keep * w[i] - rate * update[i];
}

}  // namespace dure
#endif
