// The rate of a step, and a schedule laid over a run.
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/log.h"

namespace dure {

namespace {

void shorten(WsdSchedule& schedule, int64_t total_steps, bool by_fraction) {
  const int64_t warmup = schedule.warmup_steps;
  const int64_t decay = schedule.decay_steps;
  if (by_fraction) {
    schedule.warmup_steps = (total_steps - decay) / 2;
  } else {
    const double share = static_cast<double>(total_steps) / static_cast<double>(warmup + decay);
    schedule.warmup_steps = static_cast<int64_t>(static_cast<double>(warmup) * share);
    schedule.decay_steps = static_cast<int64_t>(static_cast<double>(decay) * share);
  }
  log_warn(
      "schedule: warmup_steps {} and {} steps of decay are longer than the run of {} steps: "
      "shortened to {} and {}",
      warmup, decay, total_steps, schedule.warmup_steps, schedule.decay_steps);
}

}  // namespace

double decay_factor(DecayShape shape, double r) {
  switch (shape) {
    case DecayShape::kLinear:
      return 1 - r;
    case DecayShape::kCosine:
      return 0.5 * (1 + std::cos(std::numbers::pi * r));
    case DecayShape::kExponential:
      return 2 * std::pow(0.5, r) - 1;
    case DecayShape::kMinusSqrt:
    case DecayShape::kSqrt:
      return 1 - std::sqrt(r);
  }
  return 0;
}

double WsdSchedule::rate(int64_t step) const {
  DURE_CHECK(step >= 0, "step {}", step);
  if (step < warmup_steps)
    return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const int64_t decayed = step - warmup_steps - stable_steps + 1;
  if (decayed <= 0 || decay_steps == 0) return peak;
  const double r = std::min(1.0, static_cast<double>(decayed) / static_cast<double>(decay_steps));
  return peak * (final_fraction + (1 - final_fraction) * decay_factor(shape, r));
}

WsdSchedule make_schedule(const ScheduleOptions& options, double peak, int64_t total_steps) {
  WsdSchedule schedule{.warmup_steps = options.warmup_steps,
                       .decay_steps = options.decay_steps,
                       .peak = peak,
                       .final_fraction = options.final_fraction,
                       .shape = options.decay};
  const bool by_fraction = schedule.decay_steps == 0;
  if (by_fraction)
    schedule.decay_steps = std::llround(options.decay_fraction * static_cast<double>(total_steps));
  if (by_fraction && options.warmup_steps <= total_steps)
    schedule.decay_steps = std::min(schedule.decay_steps, total_steps - options.warmup_steps);
  if (schedule.warmup_steps + schedule.decay_steps > total_steps)
    shorten(schedule, total_steps, by_fraction);
  schedule.stable_steps = total_steps - schedule.warmup_steps - schedule.decay_steps;
  return schedule;
}

}  // namespace dure
