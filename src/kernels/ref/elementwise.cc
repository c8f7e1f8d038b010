// SwiGLU and its gradients, element by element.
#include "kernels/ref/elementwise.h"

#include <algorithm>
#include <cmath>

namespace dure::ref {
namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

}  // namespace

Doubles swiglu(DoubleSpan gate, DoubleSpan up, const SwigluFacts& facts) {
  const double limit = facts.limit;
  Doubles h(gate.size());
  for (size_t i = 0; i < h.size(); ++i) {
    const double g = limit > 0 ? std::min(gate[i], limit) : gate[i];
    const double u = limit > 0 ? std::clamp(up[i], -limit, limit) : up[i];
    h[i] = g * sigmoid(facts.alpha * g) * (u + facts.offset);
  }
  return h;
}

SwigluGradients swiglu_backward(DoubleSpan gate, DoubleSpan up, const SwigluFacts& facts,
                                DoubleSpan dh) {
  const double limit = facts.limit;
  SwigluGradients d{Doubles(gate.size()), Doubles(gate.size())};
  for (size_t i = 0; i < dh.size(); ++i) {
    const bool gate_passes = limit <= 0 || gate[i] <= limit,
               up_passes = limit <= 0 || std::abs(up[i]) <= limit;
    const double g = gate_passes ? gate[i] : limit,
                 u = up_passes ? up[i] : std::copysign(limit, up[i]), s = sigmoid(facts.alpha * g);
    d.dgate[i] = gate_passes ? dh[i] * (u + facts.offset) * s * (1 + facts.alpha * g * (1 - s)) : 0;
    d.dup[i] = up_passes ? dh[i] * g * s : 0;
  }
  return d;
}

}  // namespace dure::ref
