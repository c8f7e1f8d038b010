// train/schedule.h: the learning rate of a step: warm-up, stable, decay (WSD).
//
// Pure numbers, no state: the rate is a function of the step alone, so that a resumed run needs
// nothing but its step. Not here: the optimiser that uses the rate (optimiser.h). Definition and
// breakpoints: docs/training.md.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace dure {

// kSqrt is kMinusSqrt by another name, kept apart so that a configuration is written as it was
// read.
enum class DecayShape : uint8_t { kLinear, kCosine, kExponential, kMinusSqrt, kSqrt };
constexpr auto enum_names(DecayShape) {
  return std::to_array<EnumName<DecayShape>>({{DecayShape::kLinear, "linear"},
                                              {DecayShape::kCosine, "cosine"},
                                              {DecayShape::kExponential, "exponential"},
                                              {DecayShape::kMinusSqrt, "minus_sqrt"},
                                              {DecayShape::kSqrt, "sqrt"}});
}

struct ScheduleOptions {
  int64_t warmup_steps = 100;  // W: rate rises linearly, peak * (s + 1) / W at step s.
  // Share of all steps spent in the decay, used where decay_steps is 0.
  double decay_fraction = 0.2;
  int64_t decay_steps = 0;      // D, the last D steps of the run.
  double final_fraction = 0.1;  // The rate at the end, as a fraction of the peak; held afterwards.
  DecayShape decay = DecayShape::kMinusSqrt;

  template <typename V>
  void visit(V& v) {
    v("warmup_steps", warmup_steps, "steps of linear warm-up", at_least(0));
    v("decay_fraction", decay_fraction, "share of all steps that decay, where decay_steps is 0",
      between(0, 1));
    v("decay_steps", decay_steps, "steps of decay at the end (0: decay_fraction of all steps)",
      at_least(0));
    v("final_fraction", final_fraction, "last rate as a fraction of the peak", between(0, 1));
    v("decay", decay, "shape of the decay");
  }
};

// Share of the way from final to peak that is left at r in [0, 1] of the decay: 1 at r = 0, 0 at r
// = 1. linear 1 - r; cosine (1 + cos(pi r)) / 2; exponential 2 * 0.5^r - 1; minus_sqrt 1 - sqrt(r).
double decay_factor(DecayShape shape, double r);

struct WsdSchedule {
  int64_t warmup_steps = 0;  // W
  int64_t stable_steps = 0;  // S
  int64_t decay_steps = 0;   // D
  double peak = 0;
  double final_fraction = 0;
  DecayShape shape = DecayShape::kLinear;

  // Rate of step s = 0, 1, ...: peak (s + 1) / W for s < W; the peak for the next S steps; then
  // with r = min(1, (s - W - S + 1) / D) the value peak * (final + (1 - final) * factor(r)). D = 0:
  // stays at the peak.
  double rate(int64_t step) const;
};

// Lays the options over a run of `total_steps`. Where warm-up and decay do not fit into it (a short
// trial of a long recipe), they are shortened, with a warning: a decay in steps and the warm-up in
// proportion; with decay_fraction, the decay keeps its share and the warm-up takes half of the
// rest.
WsdSchedule make_schedule(const ScheduleOptions& options, double peak, int64_t total_steps);

}  // namespace dure
