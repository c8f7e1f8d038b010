// environments/plant/unit.h: one plant as an item of the environment: its prices, limits and hidden
// catalyst, what an experiment shows of it, and the best settings that there are.
//
// Not here: equations (williams_otto.h), how experiments are chosen (search.h), conversations
// (episode.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/rng.h"
#include "plant/williams_otto.h"

namespace dure::plant {

// What is chosen. As a point: each coordinate from 0 to 1 between its bounds.
struct Settings {
  double feed_b_kg_s = 0;
  double temperature_k = 0;
  double purge_fraction = 0;
  bool operator==(const Settings&) const = default;
};
using Point = std::array<double, 3>;
constexpr Settings kLowest = {1.5, 330, 0.05};
constexpr Settings kHighest = {7, 378, 0.6};
Settings settings_at(const Point& point);
Point point_of(const Settings& settings);
Settings rounded(const Settings& settings);  // as conversations write them: 0.1 kg/s, 1 K, 0.01
bool within_bounds(const Settings& settings);

struct Prices {  // [$/kg]
  double product = 0;
  double fuel = 0;  // purge, and product that nobody asks for
  double feed_a = 0;
  double feed_b = 0;
  double waste = 0;    // is paid for
  double pumping = 0;  // of what leaves the reactor
};
// Those of 1960, a dollar a pound turned into $/kg: the prices of Biegler's objective, which has
// them times 8400 h/a and 0.876 for what is sold.
constexpr Prices kPublishedPrices = {2207 / 8400.0 / 0.45359237, 50 / 8400.0 / 0.45359237,
                                     168 / 8400.0 / 0.45359237,  252 / 8400.0 / 0.45359237,
                                     84 / 8400.0 / 0.45359237,   2.22 / 8400.0 / 0.45359237};

struct Unit {
  double feed_a_kg_s = 0;
  double holdup_kg = 0;
  std::array<double, 3> activity{1, 1, 1};  // hidden
  Prices prices;
  double demand_kg_s = 0;     // product beyond it is sold as fuel
  double waste_max_kg_s = 0;  // limits: an experiment beyond one does not count
  double outflow_max_kg_s = 0;
};

struct Outcome {
  SteadyState state;
  double profit_per_s = 0;  // [$/s], true
  bool waste_kept = false;  // within its limit
  bool outflow_kept = false;
  bool allowed() const { return waste_kept && outflow_kept; }
};
Outcome run(const Unit& unit, const Settings& settings);

// What instruments show: profit with a standard deviation of 10 $/h, flows with one of 1 %.
constexpr double kProfitNoisePerS = 10.0 / 3600;
constexpr double kFlowNoise = 0.01;
struct Measurement {
  double profit_per_s = 0;  // [$/s]
  double product_kg_s = 0;
  double waste_kg_s = 0;
  double outflow_kg_s = 0;
};
Measurement measure(const Outcome& outcome, Rng& noise);

struct Optimum {
  Settings settings;
  double profit_per_s = 0;  // [$/s]
};
// A grid of `levels`^3, then ever smaller grids around its three best cells. Throws kNotFound where
// no settings are allowed.
Optimum find_optimum(const Unit& unit, int levels = 12);

// Unit number `index` of a seed; made so that its limits bind in about half of the units, and that
// its optimum earns at least 20 $/h. Held-out units have streams of their own.
Unit draw_unit(uint64_t seed, uint64_t index, bool heldout);

Json to_json(const Unit& unit);
Json to_json(const Optimum& optimum);
Unit read_unit(const Json& json);  // Throws Error naming the field.
Optimum read_optimum(const Json& json);

}  // namespace dure::plant
