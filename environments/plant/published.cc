// The published optima are searched for on fine grids around them.
#include "plant/published.h"

#include <fmt/core.h>

#include <cmath>
#include <ostream>

#include "base/error.h"
#include "plant/episode.h"

namespace dure::plant {
namespace {

constexpr double kPoundKg = 0.45359237;
constexpr double kPoundPerHour = kPoundKg / 3600;  // [kg/s]

void expect_near(std::ostream& out, const char* what, double found, double published,
                 double tolerance) {
  const bool right = std::abs(found - published) <= tolerance;
  out << fmt::format("{:<40} {:10.4f}  published {:10.4f}  {}\n", what, found, published,
                     right ? "ok" : "WRONG");
  if (!right) fail(ErrorCode::kCorrupt, "self-test: {} is {}, not {}", what, found, published);
}

// Roberts' and Forbes' prices, in their units of money.
double reactor_profit(const Operation& op, const SteadyState& state) {
  return state.outflow_kg_s * (1143.38 * state.fraction[kP] + 25.92 * state.fraction[kE]) -
         76.23 * op.feed_a_kg_s - 114.34 * op.feed_b_kg_s;
}

void test_reactor(std::ostream& out) {
  double best = -HUGE_VAL;
  Operation at;
  for (double b = 4.5; b < 5.1; b += 0.005)
    for (double celsius = 88; celsius < 91.5; celsius += 0.05) {
      const Operation op = {1.8275, b, celsius + 273.15, 1, 2105.2, {1, 1, 1}};
      const double profit = reactor_profit(op, solve(op));
      if (profit <= best) continue;
      best = profit;
      at = op;
    }
  expect_near(out, "reactor: feed B of most profit [kg/s]", at.feed_b_kg_s, 4.787, 0.02);
  expect_near(out, "reactor: temperature of most profit [C]", at.temperature_k - 273.15, 89.70,
              0.2);
}

// [% of the investment a year]
double return_on_investment(const Operation& op, const SteadyState& s) {
  const double earned = 2207 * s.product_kg_s + 50 * s.purge_kg_s - 168 * op.feed_a_kg_s -
                        252 * op.feed_b_kg_s - 2.22 * s.outflow_kg_s - 84 * s.waste_kg_s;
  const double holdup_lb = op.holdup_kg / kPoundKg;
  return 100 * (earned / kPoundPerHour - 60 * holdup_lb) / (600 * holdup_lb);
}

void test_plant(std::ostream& out) {
  Operation op = {
      13357 * kPoundPerHour, 30442 * kPoundPerHour, 674.4 / 1.8, 0.1, 1500 * kPoundKg, {1, 1, 1}};
  double best = -HUGE_VAL;
  SteadyState at;
  for (double purge = 0.09; purge < 0.11; purge += 0.0005) {
    op.purge_fraction = purge;
    const SteadyState state = solve(op);
    if (return_on_investment(op, state) <= best) continue;
    best = return_on_investment(op, state);
    at = state;
  }
  expect_near(out, "plant: return on investment [%/a]", best, 121.1, 0.3);
  expect_near(out, "plant: product [1000 lb/h]", at.product_kg_s / kPoundPerHour / 1000, 4.712,
              0.03);
}

void test_episode(std::ostream& out) {
  const Unit unit = draw_unit(1, 0, false);
  const Optimum optimum = find_optimum(unit);
  Json item = Json::object();
  item["fields"] = item_of("self-test", unit, optimum, 1);
  auto episode = begin_episode(item, 1, 0);
  episode->start();
  Json call = Json::object();
  call["id"] = "a";
  call["name"] = "run";
  call["arguments"] = run_arguments(rounded(optimum.settings));
  Json answer = Json::object();
  answer["tool_calls"].push_back(call);
  episode->reply(answer);
  const Json grade = episode->finish("done");
  out << "an episode: " << grade.dump() << "\n";
}

}  // namespace

void self_test(std::ostream& out) {
  test_reactor(out);
  test_plant(out);
  test_episode(out);
  out << "self-test passed\n";
}

}  // namespace dure::plant
