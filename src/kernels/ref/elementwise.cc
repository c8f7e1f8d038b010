#include "kernels/ref/elementwise.h"

#include <algorithm>
#include <cmath>

namespace dure::ref {
namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

}  // namespace

Doubles embedding(DoubleSpan table, int64_t width, std::span<const int32_t> ids) {
  Doubles y;
  for (const int32_t id : ids)
    y.insert(y.end(), table.begin() + id * width, table.begin() + (id + 1) * width);
  return y;
}

Doubles embedding_backward(int64_t vocabulary, std::span<const int32_t> ids, DoubleSpan dy) {
  const size_t width = dy.size() / ids.size();
  Doubles dtable(static_cast<size_t>(vocabulary) * width);
  for (size_t t = 0; t < ids.size(); ++t) {
    for (size_t c = 0; c < width; ++c)
      dtable[static_cast<size_t>(ids[t]) * width + c] += dy[t * width + c];
  }
  return dtable;
}

Doubles swiglu(DoubleSpan gate, DoubleSpan up, double limit) {
  Doubles h(gate.size());
  for (size_t i = 0; i < h.size(); ++i) {
    const double g = limit > 0 ? std::min(gate[i], limit) : gate[i];
    const double u = limit > 0 ? std::clamp(up[i], -limit, limit) : up[i];
    h[i] = g * sigmoid(g) * u;
  }
  return h;
}

SwigluGradients swiglu_backward(DoubleSpan gate, DoubleSpan up, double limit, DoubleSpan dh) {
  SwigluGradients d{Doubles(gate.size()), Doubles(gate.size())};
  for (size_t i = 0; i < dh.size(); ++i) {
    const bool gate_passes = limit <= 0 || gate[i] <= limit,
               up_passes = limit <= 0 || std::abs(up[i]) <= limit;
    const double g = gate_passes ? gate[i] : limit,
                 u = up_passes ? up[i] : std::copysign(limit, up[i]), s = sigmoid(g);
    d.dgate[i] = gate_passes ? dh[i] * u * s * (1 + g * (1 - s)) : 0;
    d.dup[i] = up_passes ? dh[i] * g * s : 0;
  }
  return d;
}

}  // namespace dure::ref
