// The norm's backward is its closed formula; the rotation's is the rotation by the negative angles.
#include "kernels/ref/norm.h"

#include <cmath>

namespace dure::ref {
namespace {

double inverse_rms(const double* x, size_t columns, double epsilon) {
  double sum = 0;
  for (size_t c = 0; c < columns; ++c) sum += x[c] * x[c];
  return 1 / std::sqrt(sum / static_cast<double>(columns) + epsilon);
}

// Turns every head of every token by `direction` times its angle.
void rotate(Doubles& x, size_t width, std::span<const float> inverse_frequency,
            std::span<const int32_t> positions, double direction) {
  if (inverse_frequency.empty()) return;
  const size_t half = width / 2, per_token = x.size() / positions.size();
  for (size_t i = 0; i < x.size(); i += width) {
    for (size_t j = 0; j < half; ++j) {
      const float angle = static_cast<float>(positions[i / per_token]) * inverse_frequency[j];
      const double cosine = std::cos(static_cast<double>(angle)),
                   sine = direction * std::sin(static_cast<double>(angle));
      const double u = x[i + j], v = x[i + j + half];
      x[i + j] = u * cosine - v * sine;
      x[i + j + half] = v * cosine + u * sine;
    }
  }
}

}  // namespace

Doubles rms_norm(DoubleSpan x, DoubleSpan w, double epsilon) {
  Doubles y(x.size());
  for (size_t row = 0; row < x.size(); row += w.size()) {
    const double r = inverse_rms(x.data() + row, w.size(), epsilon);
    for (size_t c = 0; c < w.size(); ++c) y[row + c] = x[row + c] * r * w[c];
  }
  return y;
}

// y_c = x_c r w_c and dr/dx_j = -r^3 x_j / C, hence dx_j = r w_j dy_j - r^3 x_j (sum_c dy_c w_c
// x_c) / C.
NormGradients rms_norm_backward(DoubleSpan x, DoubleSpan w, double epsilon, DoubleSpan dy) {
  NormGradients d{Doubles(x.size()), Doubles(w.size())};
  for (size_t row = 0; row < x.size(); row += w.size()) {
    const double r = inverse_rms(x.data() + row, w.size(), epsilon);
    double sum = 0;
    for (size_t c = 0; c < w.size(); ++c) sum += dy[row + c] * w[c] * x[row + c];
    for (size_t c = 0; c < w.size(); ++c) {
      d.dx[row + c] =
          r * w[c] * dy[row + c] - r * r * r * x[row + c] * sum / static_cast<double>(w.size());
      d.dw[c] += dy[row + c] * x[row + c] * r;
    }
  }
  return d;
}

Doubles head_norm_rope(DoubleSpan x, DoubleSpan w, double epsilon,
                       std::span<const float> inverse_frequency,
                       std::span<const int32_t> positions) {
  Doubles y = rms_norm(x, w, epsilon);
  rotate(y, w.size(), inverse_frequency, positions, 1);
  return y;
}

NormGradients head_norm_rope_backward(DoubleSpan x, DoubleSpan w, double epsilon,
                                      std::span<const float> inverse_frequency,
                                      std::span<const int32_t> positions, DoubleSpan dy) {
  Doubles turned(dy.begin(), dy.end());
  rotate(turned, w.size(), inverse_frequency, positions, -1);
  return rms_norm_backward(x, w, epsilon, turned);
}

Doubles head_rope(DoubleSpan x, int64_t width, std::span<const float> inverse_frequency,
                  double scale, std::span<const int32_t> positions, double direction) {
  Doubles y(x.begin(), x.end());
  rotate(y, static_cast<size_t>(width), inverse_frequency, positions, direction);
  for (double& value : y) value *= inverse_frequency.empty() ? 1 : scale;
  return y;
}

}  // namespace dure::ref
