// Wilson's score interval: it stays within 0 and 1, and holds for few trials and for shares near
// the ends.
#include "eval/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace dure {

Interval wilson_interval(int64_t right, int64_t total) {
  DURE_CHECK(right >= 0 && right <= total, "{} of {}", right, total);
  if (total == 0) return {0, 0, 1};
  constexpr double z = 1.959963984540054;  // two-sided 95 % quantile of the normal distribution
  const double n = static_cast<double>(total), p = static_cast<double>(right) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {p, std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

}  // namespace dure
