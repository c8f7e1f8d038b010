// A dense Cholesky factor: experiments are few.
#include "plant/gaussian_process.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dure::plant {
namespace {

double matern(const Point& a, const Point& b, double length) {
  double square = 0;
  for (size_t i = 0; i < a.size(); ++i) square += (a[i] - b[i]) * (a[i] - b[i]);
  const double r = std::sqrt(5 * square) / length;
  return (1 + r + r * r / 3) * std::exp(-r);
}

// x := L^-1 x, L [n, n] lower.
void solve_lower(const std::vector<double>& factor, std::vector<double>& x) {
  const size_t n = x.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) x[i] -= factor[i * n + j] * x[j];
    x[i] /= factor[i * n + i];
  }
}

void solve_upper(const std::vector<double>& factor, std::vector<double>& x) {  // x := L^-T x
  const size_t n = x.size();
  for (size_t i = n; i-- > 0;) {
    for (size_t j = i + 1; j < n; ++j) x[i] -= factor[j * n + i] * x[j];
    x[i] /= factor[i * n + i];
  }
}

}  // namespace

GaussianProcess::GaussianProcess(const std::vector<Point>& points,
                                 const std::vector<double>& values, double noise)
    : points_(points), targets_(values) {
  const auto n = static_cast<double>(values.size());
  for (const double value : values) mean_ += value / n;
  double variance = 0;
  for (const double value : values) variance += (value - mean_) * (value - mean_) / n;
  scale_ = std::max({std::sqrt(variance), noise, 1e-12});
  noise_ = std::max(noise / scale_, 1e-4);
  for (double& target : targets_) target = (target - mean_) / scale_;
  double best = -HUGE_VAL;
  for (const double length : {0.2, 0.35, 0.6, 1.0, 1.7}) {
    const double likelihood = fit(length);
    if (likelihood <= best) continue;
    best = likelihood;
    length_ = length;
  }
  fit(length_);
}

double GaussianProcess::fit(double length) {
  const size_t n = points_.size();
  length_ = length;
  factor_.assign(n * n, 0);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j <= i; ++j) {
      double sum = matern(points_[i], points_[j], length) + (i == j ? noise_ * noise_ + 1e-9 : 0);
      for (size_t k = 0; k < j; ++k) sum -= factor_[i * n + k] * factor_[j * n + k];
      factor_[i * n + j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / factor_[j * n + j];
    }
  weights_ = targets_;
  solve_lower(factor_, weights_);
  double likelihood = -0.5 * static_cast<double>(n) * std::log(2 * std::numbers::pi);
  for (size_t i = 0; i < n; ++i)
    likelihood -= 0.5 * weights_[i] * weights_[i] + std::log(factor_[i * n + i]);
  solve_upper(factor_, weights_);
  return likelihood;
}

GaussianProcess::Prediction GaussianProcess::at(const Point& point) const {
  std::vector<double> k(points_.size());
  for (size_t i = 0; i < k.size(); ++i) k[i] = matern(points_[i], point, length_);
  double mean = 0;
  for (size_t i = 0; i < k.size(); ++i) mean += k[i] * weights_[i];
  solve_lower(factor_, k);
  double variance = 1;
  for (const double value : k) variance -= value * value;
  return {mean_ + scale_ * mean, scale_ * std::sqrt(std::max(variance, 0.0))};
}

double expected_improvement(const GaussianProcess::Prediction& prediction, double best) {
  const double ahead = prediction.mean - best;
  if (prediction.deviation <= 1e-12) return std::max(ahead, 0.0);
  const double z = ahead / prediction.deviation;
  const double density = std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi);
  const double below = 0.5 * std::erfc(-z / std::numbers::sqrt2);
  return ahead * below + prediction.deviation * density;
}

}  // namespace dure::plant
