// kernels/ref/optimiser.h: plain loops for kernels/optimiser.h, over any floating type. Shares
// nothing with cpu/.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/optimiser.h"

namespace dure::ref {

template <typename T>
void adamw_update(std::span<T> w, std::span<const T> g, std::span<T> m, std::span<T> v,
                  double weight_decay, const AdamWStep& s) {
  for (size_t i = 0; i < w.size(); ++i) {
    const T gradient = g[i] * static_cast<T>(s.gradient_scale);
    w[i] -= static_cast<T>(s.learning_rate * weight_decay) * w[i];
    m[i] = static_cast<T>(s.beta1) * m[i] + static_cast<T>(1 - s.beta1) * gradient;
    v[i] = static_cast<T>(s.beta2) * v[i] + static_cast<T>(1 - s.beta2) * gradient * gradient;
    const T corrected_m = m[i] / static_cast<T>(1 - std::pow(s.beta1, static_cast<double>(s.step)));
    const T corrected_v = v[i] / static_cast<T>(1 - std::pow(s.beta2, static_cast<double>(s.step)));
    w[i] -= static_cast<T>(s.learning_rate) * corrected_m /
            (std::sqrt(corrected_v) + static_cast<T>(s.epsilon));
  }
}

template <typename T>
std::vector<T> transpose(const std::vector<T>& x, int64_t rows, int64_t cols) {
  std::vector<T> out(x.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j)
      out[static_cast<size_t>(j * rows + i)] = x[static_cast<size_t>(i * cols + j)];
  }
  return out;
}

// [m, k] x [k, n] -> [m, n]
template <typename T>
std::vector<T> matmul(const std::vector<T>& a, const std::vector<T>& b, int64_t m, int64_t k,
                      int64_t n) {
  std::vector<T> out(static_cast<size_t>(m * n), T{0});
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (int64_t l = 0; l < k; ++l)
        sum += a[static_cast<size_t>(i * k + l)] * b[static_cast<size_t>(l * n + j)];
      out[static_cast<size_t>(i * n + j)] = sum;
    }
  }
  return out;
}

template <typename T>
void orthogonalise(std::vector<T>& x, int64_t rows, int64_t cols, int iterations) {
  constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
  T squares = 0;
  for (const T value : x) squares += value * value;
  for (T& value : x) value /= std::sqrt(squares) + static_cast<T>(1e-7);
  const bool flip = rows > cols;
  if (flip) {
    x = transpose(x, rows, cols);
    std::swap(rows, cols);
  }
  for (int i = 0; i < iterations; ++i) {
    const std::vector<T> gram = matmul(x, transpose(x, rows, cols), rows, cols, rows);
    std::vector<T> polynomial = matmul(gram, gram, rows, rows, rows);
    for (size_t j = 0; j < gram.size(); ++j)
      polynomial[j] = static_cast<T>(kB) * gram[j] + static_cast<T>(kC) * polynomial[j];
    const std::vector<T> turned = matmul(polynomial, x, rows, rows, cols);
    for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<T>(kA) * x[j] + turned[j];
  }
  if (flip) x = transpose(x, rows, cols);
}

template <typename T>
void muon_update(std::span<T> w, std::span<const T> g, std::span<T> momentum, int64_t rows,
                 int64_t cols, double weight_decay, const MuonStep& s) {
  std::vector<T> update(w.size());
  for (size_t i = 0; i < w.size(); ++i) {
    const T gradient = g[i] * static_cast<T>(s.gradient_scale);
    momentum[i] = static_cast<T>(s.momentum) * momentum[i] + gradient;
    update[i] = s.nesterov ? gradient + static_cast<T>(s.momentum) * momentum[i] : momentum[i];
  }
  orthogonalise(update, rows, cols, s.iterations);
  const T scale =
      static_cast<T>(s.learning_rate * 0.2 * std::sqrt(static_cast<double>(std::max(rows, cols))));
  for (size_t i = 0; i < w.size(); ++i)
    w[i] = w[i] * static_cast<T>(1 - s.learning_rate * weight_decay) - scale * update[i];
}

}  // namespace dure::ref
