// bench/timing.h: how long something takes: the best of several runs, since noise only adds.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <utility>

namespace dure {

inline double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of this thread alone: for one-threaded runs on a machine that others use too.
inline double thread_s() {
  timespec t;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Runs for about `seconds`, at least three times after one to warm up.
inline double best_s(double seconds, const std::function<void()>& run, double (*clock)() = now_s) {
  run();
  double best = 1e30;
  const double end = now_s() + seconds;
  for (int i = 0; i < 3 || now_s() < end; ++i) {
    const double start = clock();
    run();
    best = std::min(best, clock() - start);
  }
  return best;
}

// The same of two things in turn: what disturbs the machine for a while disturbs both.
inline std::pair<double, double> best_pair_s(double seconds, const std::function<void()>& a,
                                             const std::function<void()>& b,
                                             double (*clock)() = now_s) {
  a();
  double best_a = 1e30, best_b = 1e30;
  const double end = now_s() + seconds;
  for (int i = 0; i < 3 || now_s() < end; ++i) {
    const double start = clock();
    a();
    const double middle = clock();
    b();
    best_a = std::min(best_a, middle - start);
    best_b = std::min(best_b, clock() - middle);
  }
  return {best_a, best_b};
}

}  // namespace dure
