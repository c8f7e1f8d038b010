// train/router_bias.h: load balancing without a loss: the router's selection bias follows the load.
//
// After each optimiser step, per layer: b_e += rate * sign(mean load - load_e). No gradient passes
// through b, and it only selects (model/ adds it before the top-k, never to the weights). Frozen in
// SFT and RL (rate 0). Source: DeepSeek-V3 2412.19437, 2.1.2; rate 1e-4 in K-EXAONE. Not here:
// counting the loads (model/).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace dure {

// Adds rate * sign(mean - count) to each entry. bias, counts: [E]; counts are tokens routed to each
// expert over the whole global batch (every micro-batch and rank). An expert exactly at the mean
// keeps its bias.
template <typename T>
void update_router_bias(std::span<T> bias, std::span<const int64_t> counts, double rate) {
  int64_t total = 0;
  for (const int64_t count : counts) total += count;
  const int64_t experts = static_cast<int64_t>(counts.size());
  for (size_t e = 0; e < counts.size(); ++e) {
    // E * (mean - count): integers, so a tie is exact.
    const int64_t difference = total - counts[e] * experts;
    bias[e] += static_cast<T>(difference > 0 ? rate : difference < 0 ? -rate : 0.0);
  }
}

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
