// Limits of a drawn unit are set from its optimum without limits, so that they matter; all figures
// are rounded as the conversation shows them before the optimum is computed.
#include "plant/unit.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"

namespace dure::plant {
namespace {

double to_digits(double value, int digits) {
  const double scale = std::pow(10, digits);
  return std::round(value * scale) / scale;
}

struct Candidate {
  double profit_per_s = 0;
  Point point{};
};

// The best of a grid around `centre` that reaches `half` to each side; appended to `found`.
void search_grid(const Unit& unit, const Point& centre, double half, int levels,
                 std::vector<Candidate>& found) {
  const auto place = [&](int i, int axis) {
    const double share = levels == 1 ? 0.5 : static_cast<double>(i) / (levels - 1);
    return std::clamp(centre[axis] - half + 2 * half * share, 0.0, 1.0);
  };
  for (int i = 0; i < levels; ++i)
    for (int j = 0; j < levels; ++j)
      for (int k = 0; k < levels; ++k) {
        const Point point = {place(i, 0), place(j, 1), place(k, 2)};
        const Outcome outcome = run(unit, settings_at(point));
        if (outcome.allowed()) found.push_back({outcome.profit_per_s, point});
      }
}

void keep_best(std::vector<Candidate>& found, size_t count) {
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.profit_per_s > b.profit_per_s;
  };
  std::stable_sort(found.begin(), found.end(), better);
  found.resize(std::min(found.size(), count));
}

Candidate refine(const Unit& unit, Candidate best, double half) {
  for (int round = 0; round < 14 && half > 5e-4; ++round) {
    std::vector<Candidate> found = {best};
    search_grid(unit, best.point, half, 5, found);
    keep_best(found, 1);
    // The box shrinks slowly where the best moved, so that it can follow a limit's edge.
    half *= found[0].point == best.point ? 0.5 : 0.8;
    best = found[0];
  }
  return best;
}

// Near enough to set limits by; absent where nothing is allowed.
std::optional<Candidate> rough_optimum(const Unit& unit) {
  std::vector<Candidate> found;
  search_grid(unit, {0.5, 0.5, 0.5}, 0.5, 9, found);
  if (found.empty()) return std::nullopt;
  keep_best(found, 1);
  search_grid(unit, Point(found[0].point), 0.1, 5, found);
  keep_best(found, 1);
  return found[0];
}

Unit draw_free_unit(Rng& rng) {
  Unit unit;
  unit.feed_a_kg_s = to_digits(1.3 + 0.7 * rng.uniform(), 1);
  unit.holdup_kg = 50 * std::round((700 + 1100 * rng.uniform()) / 50);
  for (double& activity : unit.activity) activity = std::exp(0.2 * rng.normal());
  const auto price = [&](double published, double low, double high, int digits) {
    return to_digits(published * (low + (high - low) * rng.uniform()), digits);
  };
  const Prices& p = kPublishedPrices;
  unit.prices = {price(p.product, 0.7, 1.3, 2), price(p.fuel, 0.5, 3, 3),
                 price(p.feed_a, 0.6, 1.6, 3),  price(p.feed_b, 0.6, 1.6, 3),
                 price(p.waste, 0.5, 3, 3),     price(p.pumping, 1, 1, 5)};
  unit.demand_kg_s = 100;
  unit.waste_max_kg_s = 100;
  unit.outflow_max_kg_s = 1000;
  return unit;
}

}  // namespace

Settings settings_at(const Point& p) {
  return {kLowest.feed_b_kg_s + p[0] * (kHighest.feed_b_kg_s - kLowest.feed_b_kg_s),
          kLowest.temperature_k + p[1] * (kHighest.temperature_k - kLowest.temperature_k),
          kLowest.purge_fraction + p[2] * (kHighest.purge_fraction - kLowest.purge_fraction)};
}

Point point_of(const Settings& s) {
  const auto share = [](double value, double low, double high) {
    return (value - low) / (high - low);
  };
  return {share(s.feed_b_kg_s, kLowest.feed_b_kg_s, kHighest.feed_b_kg_s),
          share(s.temperature_k, kLowest.temperature_k, kHighest.temperature_k),
          share(s.purge_fraction, kLowest.purge_fraction, kHighest.purge_fraction)};
}

Settings rounded(const Settings& s) {
  return {to_digits(s.feed_b_kg_s, 1), to_digits(s.temperature_k, 0),
          to_digits(s.purge_fraction, 2)};
}

bool within_bounds(const Settings& s) {
  for (const double share : point_of(s))
    if (!(share >= -1e-9 && share <= 1 + 1e-9)) return false;
  return true;
}

Outcome run(const Unit& unit, const Settings& s) {
  Outcome out;
  out.state = solve({.feed_a_kg_s = unit.feed_a_kg_s,
                     .feed_b_kg_s = s.feed_b_kg_s,
                     .temperature_k = s.temperature_k,
                     .purge_fraction = s.purge_fraction,
                     .holdup_kg = unit.holdup_kg,
                     .activity = unit.activity});
  const SteadyState& state = out.state;
  const double sold = std::min(state.product_kg_s, unit.demand_kg_s);
  const Prices& price = unit.prices;
  out.profit_per_s = price.product * sold +
                     price.fuel * (state.purge_kg_s + state.product_kg_s - sold) -
                     price.feed_a * unit.feed_a_kg_s - price.feed_b * s.feed_b_kg_s -
                     price.waste * state.waste_kg_s - price.pumping * state.outflow_kg_s;
  out.waste_kept = state.waste_kg_s <= unit.waste_max_kg_s;
  out.outflow_kept = state.outflow_kg_s <= unit.outflow_max_kg_s;
  return out;
}

Measurement measure(const Outcome& outcome, Rng& noise) {
  const auto flow = [&](double kg_s) { return kg_s * (1 + kFlowNoise * noise.normal()); };
  Measurement m;
  m.profit_per_s = outcome.profit_per_s + kProfitNoisePerS * noise.normal();
  m.product_kg_s = flow(outcome.state.product_kg_s);
  m.waste_kg_s = flow(outcome.state.waste_kg_s);
  m.outflow_kg_s = flow(outcome.state.outflow_kg_s);
  return m;
}

Optimum find_optimum(const Unit& unit, int levels) {
  std::vector<Candidate> found;
  search_grid(unit, {0.5, 0.5, 0.5}, 0.5, levels, found);
  if (found.empty()) fail(ErrorCode::kNotFound, "unit: no settings keep its limits");
  keep_best(found, 3);
  for (Candidate& candidate : found) candidate = refine(unit, candidate, 1.0 / (levels - 1));
  keep_best(found, 1);
  return {settings_at(found[0].point), found[0].profit_per_s};
}

Unit draw_unit(uint64_t seed, uint64_t index, bool heldout) {
  Rng rng(seed, stream_id(heldout ? "plant.heldout" : "plant.train", index));
  for (;;) {
    Unit unit = draw_free_unit(rng);
    const Point free = rough_optimum(unit)->point;
    const SteadyState state = run(unit, settings_at(free)).state;
    unit.demand_kg_s = to_digits(state.product_kg_s * (0.8 + 0.5 * rng.uniform()), 2);
    unit.waste_max_kg_s = to_digits(state.waste_kg_s * (0.7 + 0.8 * rng.uniform()), 2);
    unit.outflow_max_kg_s = to_digits(state.outflow_kg_s * (0.7 + 0.8 * rng.uniform()), 0);
    const std::optional<Candidate> best = rough_optimum(unit);
    if (best && best->profit_per_s * 3600 >= 20) return unit;
  }
}

Json to_json(const Unit& unit) {
  Json out = Json::object();
  out["feed_a_kg_s"] = unit.feed_a_kg_s;
  out["holdup_kg"] = unit.holdup_kg;
  out["activity"] = Json::array_of(unit.activity);
  Json& price = out["prices_per_kg"];
  price["product"] = unit.prices.product;
  price["fuel"] = unit.prices.fuel;
  price["feed_a"] = unit.prices.feed_a;
  price["feed_b"] = unit.prices.feed_b;
  price["waste"] = unit.prices.waste;
  price["pumping"] = unit.prices.pumping;
  out["demand_kg_s"] = unit.demand_kg_s;
  out["waste_max_kg_s"] = unit.waste_max_kg_s;
  out["outflow_max_kg_s"] = unit.outflow_max_kg_s;
  return out;
}

namespace {

double positive(const Json& json, const char* name) {
  const double value = json.at(name).as_double(name);
  if (!(value > 0 && value < 1e9))
    fail(ErrorCode::kInvalidArgument, "unit: {} is {}: it must be above 0", name, value);
  return value;
}

double price_of(const Json& json, const char* name) {
  const double value = json.at(name).as_double(name);
  if (!(value >= 0 && value < 1e6))
    fail(ErrorCode::kInvalidArgument, "unit: prices_per_kg.{} is {}: it must be at least 0", name,
         value);
  return value;
}

}  // namespace

Unit read_unit(const Json& json) {
  json.as_object("unit");
  Unit unit;
  unit.feed_a_kg_s = positive(json, "feed_a_kg_s");
  unit.holdup_kg = positive(json, "holdup_kg");
  const Json& activity = json.at("activity");
  if (activity.as_array("activity").size() != 3)
    fail(ErrorCode::kInvalidArgument, "unit: activity has {} numbers: it needs 3", activity.size());
  for (size_t i = 0; i < 3; ++i) unit.activity[i] = activity.at(i).as_double("activity");
  const Json& price = json.at("prices_per_kg");
  unit.prices = {price_of(price, "product"), price_of(price, "fuel"),  price_of(price, "feed_a"),
                 price_of(price, "feed_b"),  price_of(price, "waste"), price_of(price, "pumping")};
  unit.demand_kg_s = positive(json, "demand_kg_s");
  unit.waste_max_kg_s = positive(json, "waste_max_kg_s");
  unit.outflow_max_kg_s = positive(json, "outflow_max_kg_s");
  return unit;
}

Json to_json(const Optimum& optimum) {
  Json out = Json::object();
  out["feed_b_kg_s"] = optimum.settings.feed_b_kg_s;
  out["temperature_k"] = optimum.settings.temperature_k;
  out["purge_fraction"] = optimum.settings.purge_fraction;
  out["profit_per_s"] = optimum.profit_per_s;
  return out;
}

Optimum read_optimum(const Json& json) {
  return {{json.at("feed_b_kg_s").as_double("optimum: feed_b_kg_s"),
           json.at("temperature_k").as_double("optimum: temperature_k"),
           json.at("purge_fraction").as_double("optimum: purge_fraction")},
          positive(json, "profit_per_s")};
}

}  // namespace dure::plant
