// eval/statistics.h: intervals for what an evaluation counts, and the smoothing of what a run
// logged.
//
// Not here: how either is drawn (chart.h, interval_chart.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dure {

struct Interval {
  double value = 0, low = 0, high = 0;
};

// Share of `right` in `total` with the Wilson score interval at 95 %: sound near 0 and 1, where the
// normal one is not. Source: E. B. Wilson, "Probable inference, the law of succession, and
// statistical inference", JASA 1927. total = 0: [0, 1].
Interval wilson_interval(int64_t right, int64_t total);
// The same for any share in [0, 1], a mean of `total` scores.
Interval wilson_of_share(double share, int64_t total);

// The mean of the `window` values around each one; near the ends, of those that there are. Checked:
// `window` is odd.
std::vector<double> centred_mean(std::span<const double> values, int64_t window);

// The window that keeps a curve's shape and takes its noise: a twentieth of the curve, odd, at most
// 101; 1 (nothing is smoothed) below 40 values.
int64_t smoothing_window(int64_t count);

}  // namespace dure
