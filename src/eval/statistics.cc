// Wilson's score interval: it stays within 0 and 1, and holds for few trials and for shares near
// the ends. Means over a window from sums of prefixes.
#include "eval/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace dure {

Interval wilson_interval(int64_t right, int64_t total) {
  DURE_CHECK(right >= 0 && right <= total, "{} of {}", right, total);
  if (total == 0) return {0, 0, 1};
  return wilson_of_share(static_cast<double>(right) / static_cast<double>(total), total);
}

Interval wilson_of_share(double share, int64_t total) {
  DURE_CHECK(share >= 0 && share <= 1 && total > 0, "{} of {}", share, total);
  constexpr double z = 1.959963984540054;  // two-sided 95 % quantile of the normal distribution
  const double n = static_cast<double>(total), p = share;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {p, std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

std::vector<double> centred_mean(std::span<const double> values, int64_t window) {
  DURE_CHECK(window > 0 && window % 2 == 1, "a window of {}", window);
  const int64_t count = std::ssize(values), half = window / 2;
  std::vector<double> sums{0}, out;
  for (const double value : values) sums.push_back(sums.back() + value);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = std::max<int64_t>(0, i - half), end = std::min(count, i + half + 1);
    out.push_back((sums[static_cast<size_t>(end)] - sums[static_cast<size_t>(begin)]) /
                  static_cast<double>(end - begin));
  }
  return out;
}

int64_t smoothing_window(int64_t count) {
  return count < 40 ? 1 : std::min<int64_t>(101, count / 20 / 2 * 2 + 1);
}

}  // namespace dure
