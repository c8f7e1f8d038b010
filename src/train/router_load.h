// train/router_load.h: how uneven the routing of a step was, for the metrics of a run.
//
// Counts are tokens routed to each expert over the whole global batch (every micro-batch and rank).
// Not here: counting them (model/), and the bias that follows them (move_router_bias,
// kernels/router.h; when: train/learner.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace dure {

struct RouterLoad {
  double cv = 0;  // Population deviation of the counts over their mean; 0 is perfect balance.
  double max_violation = 0;  // Largest count over the mean, minus 1.
};

// Both are 0 where nothing was routed.
inline RouterLoad router_load(std::span<const int64_t> counts) {
  double total = 0, largest = 0, squares = 0;
  for (const int64_t count : counts) {
    total += static_cast<double>(count);
    largest = std::max(largest, static_cast<double>(count));
  }
  if (total <= 0) return {};
  const double mean = total / static_cast<double>(counts.size());
  for (const int64_t count : counts)
    squares += (static_cast<double>(count) - mean) * (static_cast<double>(count) - mean);
  return {.cv = std::sqrt(squares / static_cast<double>(counts.size())) / mean,
          .max_violation = largest / mean - 1};
}

}  // namespace dure
