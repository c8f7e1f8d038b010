#include "kernels/norm.h"

#include <algorithm>

#include "kernels/cpu/rows.h"

namespace dure {
namespace {

constexpr int64_t kRowsTogether = 64;    // rows of one parallel task; also the chunk of the gradient sums
constexpr int64_t kHeadWidthMax = 1024;

int64_t task_count(int64_t rows) { return (rows + kRowsTogether - 1) / kRowsTogether; }

// dw: [C] += the partial sums [P, C] by a fixed tree: pairs, then pairs of pairs.
void add_partials(float* partials, int64_t count, int64_t columns, float* dw) {
  for (int64_t step = 1; step < count; step *= 2) {
    for (int64_t p = 0; p + step < count; p += 2 * step) cpu::add_span(partials + (p + step) * columns, partials + p * columns, columns);
  }
  if (count > 0) cpu::add_span(partials, dw, columns);
}

}  // namespace

void rms_norm(TensorView x, TensorView w, double epsilon, TensorView y, TensorView inverse_rms, Stream& stream) {
  const int64_t columns = w.elements(), rows = x.elements() / columns;
  DURE_CHECK(y.elements() == x.elements() && rows * columns == x.elements(), "{} and {}", x.shape.text(), y.shape.text());
  const float *px = x.f32(), *pw = w.f32();
  float *py = y.f32(), *pi = inverse_rms ? inverse_rms.f32() : nullptr;
  stream.threads().parallel_for(task_count(rows), [&](int64_t task, int) {
    const int64_t first = task * kRowsTogether, count = std::min(kRowsTogether, rows - first);
    cpu::rms_norm_rows(px + first * columns, pw, static_cast<float>(epsilon), py + first * columns, pi == nullptr ? nullptr : pi + first, count, columns);
  });
}

void rms_norm_backward(TensorView x, TensorView w, TensorView inverse_rms, TensorView dy, TensorView dx, Write write, TensorView dw, Stream& stream) {
  const int64_t columns = w.elements(), rows = x.elements() / columns, tasks = task_count(rows);
  const float *px = x.f32(), *pw = w.f32(), *pi = inverse_rms.f32(), *pdy = dy.f32();
  float* pdx = dx.f32();
  float* partials = static_cast<float*>(stream.scratch(0, static_cast<size_t>(tasks * columns) * sizeof(float)));
  std::fill_n(partials, tasks * columns, 0.0f);
  stream.threads().parallel_for(tasks, [&](int64_t task, int) {
    const int64_t first = task * kRowsTogether, count = std::min(kRowsTogether, rows - first);
    cpu::rms_norm_backward_rows(px + first * columns, pw, pi + first, pdy + first * columns, pdx + first * columns, write == Write::kAdd,
                                partials + task * columns, count, columns);
  });
  add_partials(partials, tasks, columns, dw.f32());
}

void head_norm_rope(TensorView x, TensorView w, double epsilon, RopeTable rope, std::span<const int32_t> positions, TensorView y, TensorView inverse_rms,
                    Stream& stream) {
  const int64_t width = w.elements(), tokens = std::ssize(positions), heads = tokens == 0 ? 0 : x.elements() / tokens / width;
  DURE_CHECK(width <= kHeadWidthMax && tokens * heads * width == x.elements(), "heads of {} in {}", width, x.shape.text());
  const float *px = x.f32(), *pw = w.f32();
  float *py = y.f32(), *pi = inverse_rms ? inverse_rms.f32() : nullptr;
  stream.threads().parallel_for(task_count(tokens), [&](int64_t task, int) {
    float cosine[kHeadWidthMax / 2], sine[kHeadWidthMax / 2];
    const bool turns = rope.inverse_frequency != nullptr;
    for (int64_t t = task * kRowsTogether; t < std::min(tokens, (task + 1) * kRowsTogether); ++t) {
      if (turns) cpu::rope_angles(rope.inverse_frequency, static_cast<float>(positions[static_cast<size_t>(t)]), cosine, sine, width / 2);
      cpu::head_norm_token(px + t * heads * width, pw, static_cast<float>(epsilon), turns ? cosine : nullptr, sine, py + t * heads * width,
                           pi == nullptr ? nullptr : pi + t * heads, heads, width);
    }
  });
}

void head_norm_rope_backward(TensorView x, TensorView w, RopeTable rope, std::span<const int32_t> positions, TensorView inverse_rms, TensorView dy, TensorView dx,
                             TensorView dw, Stream& stream) {
  const int64_t width = w.elements(), tokens = std::ssize(positions), heads = tokens == 0 ? 0 : x.elements() / tokens / width, tasks = task_count(tokens);
  const float *px = x.f32(), *pw = w.f32(), *pi = inverse_rms.f32(), *pdy = dy.f32();
  float* pdx = dx.f32();
  float* partials = static_cast<float*>(stream.scratch(0, static_cast<size_t>(tasks * width) * sizeof(float)));
  std::fill_n(partials, tasks * width, 0.0f);
  stream.threads().parallel_for(tasks, [&](int64_t task, int) {
    float cosine[kHeadWidthMax / 2], sine[kHeadWidthMax / 2];
    const bool turns = rope.inverse_frequency != nullptr;
    for (int64_t t = task * kRowsTogether; t < std::min(tokens, (task + 1) * kRowsTogether); ++t) {
      if (turns) cpu::rope_angles(rope.inverse_frequency, static_cast<float>(positions[static_cast<size_t>(t)]), cosine, sine, width / 2);
      const int64_t at = t * heads * width;
      cpu::head_norm_token_backward(px + at, pw, turns ? cosine : nullptr, sine, pi + t * heads, pdy + at, pdx + at, partials + task * width, heads, width);
    }
  });
  add_partials(partials, tasks, width, dw.f32());
}

}  // namespace dure
