// bench/timing.h: how long something takes: the best of several runs, since noise only adds.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>

namespace dure {

inline double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runs for about `seconds`, at least three times after one to warm up.
inline double best_s(double seconds, const std::function<void()>& run) {
  run();
  double best = 1e30;
  const double end = now_s() + seconds;
  for (int i = 0; i < 3 || now_s() < end; ++i) {
    const double start = now_s();
    run();
    best = std::min(best, now_s() - start);
  }
  return best;
}

}  // namespace dure
