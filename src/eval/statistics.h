// eval/statistics.h: intervals for what an evaluation counts.
#pragma once

#include <cstdint>

namespace dure {

struct Interval {
  double value = 0, low = 0, high = 0;
};

// Share of `right` in `total` with the Wilson score interval at 95 %: sound near 0 and 1, where the
// normal one is not. Source: E. B. Wilson, "Probable inference, the law of succession, and
// statistical inference", JASA 1927. total = 0: [0, 1].
Interval wilson_interval(int64_t right, int64_t total);

}  // namespace dure
