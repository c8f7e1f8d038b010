#include "kernels/norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ref/norm.h"

namespace dure {
namespace {

void put(const ref::Doubles& from, TensorView to, Write write) {
  float* y = to.f32();
  for (size_t i = 0; i < from.size(); ++i) y[i] = static_cast<float>(from[i] + (write == Write::kAdd ? y[i] : 0));
}

void put_inverse_rms(TensorView x, int64_t columns, double epsilon, TensorView inverse_rms) {
  if (!inverse_rms) return;
  for (int64_t r = 0; r < inverse_rms.elements(); ++r) {
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += double{x.f32()[r * columns + c]} * x.f32()[r * columns + c];
    inverse_rms.f32()[r] = static_cast<float>(1 / std::sqrt(sum / static_cast<double>(columns) + epsilon));
  }
}

// The backward contracts have no epsilon; it follows from inverse_rms of the first row.
double epsilon_of(TensorView x, int64_t columns, TensorView inverse_rms) {
  double sum = 0;
  for (int64_t c = 0; c < columns; ++c) sum += double{x.f32()[c]} * x.f32()[c];
  const double r = inverse_rms.f32()[0];
  return 1 / (r * r) - sum / static_cast<double>(columns);
}

std::span<const float> frequencies(RopeTable rope, int64_t width) {
  return rope.inverse_frequency == nullptr ? std::span<const float>() : std::span<const float>(rope.inverse_frequency, static_cast<size_t>(width / 2));
}

}  // namespace

void rms_norm(TensorView x, TensorView w, double epsilon, TensorView y, TensorView inverse_rms, Stream&) {
  put_inverse_rms(x, w.elements(), epsilon, inverse_rms);
  put(ref::rms_norm(ref::widen(x), ref::widen(w), epsilon), y, Write::kSet);
}

void rms_norm_backward(TensorView x, TensorView w, TensorView inverse_rms, TensorView dy, TensorView dx, Write write,
                       TensorView dw, Stream&) {
  const auto d = ref::rms_norm_backward(ref::widen(x), ref::widen(w), epsilon_of(x, w.elements(), inverse_rms), ref::widen(dy));
  put(d.dx, dx, write);
  put(d.dw, dw, Write::kAdd);
}

void head_norm_rope(TensorView x, TensorView w, double epsilon, RopeTable rope, std::span<const int32_t> positions,
                    TensorView y, TensorView inverse_rms, Stream&) {
  put_inverse_rms(x, w.elements(), epsilon, inverse_rms);
  put(ref::head_norm_rope(ref::widen(x), ref::widen(w), epsilon, frequencies(rope, w.elements()), positions), y, Write::kSet);
}

void head_norm_rope_backward(TensorView x, TensorView w, RopeTable rope, std::span<const int32_t> positions,
                             TensorView inverse_rms, TensorView dy, TensorView dx, TensorView dw, Stream&) {
  const auto d = ref::head_norm_rope_backward(ref::widen(x), ref::widen(w), epsilon_of(x, w.elements(), inverse_rms),
                                              frequencies(rope, w.elements()), positions, ref::widen(dy));
  put(d.dx, dx, Write::kSet);
  put(d.dw, dw, Write::kAdd);
}

}  // namespace dure
