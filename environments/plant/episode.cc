// A call that cannot be run uses up an experiment, so that every conversation ends.
#include "plant/episode.h"

#include <cmath>
#include <optional>

#include "base/error.h"

namespace dure::plant {
namespace {

using environments::assistant_message;
using environments::call_message;
using environments::tool_message;
using environments::user_message;

// Spaced as the chat format writes JSON, so that texts teach a tokenizer what conversations need.
constexpr const char* kRunTool =
    R"({"type": "function", "function": {"name": "run", "description": "Runs the plant.", )"
    R"("parameters": {"type": "object", "properties": {)"
    R"("b": {"type": "number", "description": "feed B, kg/s"}, )"
    R"("t": {"type": "number", "description": "temperature, K"}, )"
    R"("purge": {"type": "number", "description": "share of the recycle"}}, )"
    R"("required": ["b", "t", "purge"]}}})";

double per_hour(double per_s) { return per_s * 3600; }

std::string bounds_text() {
  return fmt::format("run needs b from {} to {}, t from {} to {}, purge from {} to {}",
                     kLowest.feed_b_kg_s, kHighest.feed_b_kg_s, kLowest.temperature_k,
                     kHighest.temperature_k, kLowest.purge_fraction, kHighest.purge_fraction);
}

std::optional<Settings> read_settings(const Json& call) {
  const Json arguments = environments::call_arguments(call, "run");
  const Json* b = arguments.find("b");
  const Json* t = arguments.find("t");
  const Json* purge = arguments.find("purge");
  for (const Json* value : {b, t, purge})
    if (value == nullptr || !value->is_number()) return std::nullopt;
  const Settings settings = {b->as_double(), t->as_double(), purge->as_double()};
  return within_bounds(settings) ? std::optional(settings) : std::nullopt;
}

class PlantEpisode : public environments::ToolSession {
 public:
  PlantEpisode(const Unit& unit, const Optimum& optimum, int64_t budget, uint64_t seed,
               int64_t sample)
      : ToolSession(question(unit, budget), run_tool(), budget, "experiment"),
        campaign_(unit, seed, static_cast<uint64_t>(sample)),
        optimum_(optimum) {}

  Json finish(const std::string&) override {
    const Score s = score(campaign_, optimum_, budget());
    Json out = Json::object();
    out["reward"] = s.reward;
    Json& parts = out["parts"];
    parts["regret"] = std::min(s.regret, 1.0);
    parts["within_5_percent"] = s.within_5_percent ? 1 : 0;
    parts["experiments_to_5_percent"] = s.experiments_to_5_percent;
    parts["experiments"] = static_cast<int64_t>(campaign_.experiments().size());
    parts["bad_calls"] = bad_;
    parts["allowed"] = allowed_share();
    out["text"] = fmt::format("{} Best possible: {:.0f} $/h.", settled_text(campaign_.settled()),
                              per_hour(optimum_.profit_per_s));
    return out;
  }

 private:
  int64_t used() const override { return used_; }
  std::string run(const Json& call) override {
    ++used_;
    const std::optional<Settings> settings = read_settings(call);
    if (!settings) {
      ++bad_;
      return bounds_text();
    }
    return report(campaign_.unit(), campaign_.try_settings(*settings));
  }
  double allowed_share() const {
    double allowed = 0;
    for (const Experiment& e : campaign_.experiments()) allowed += e.outcome.allowed() ? 1 : 0;
    return used_ == 0 ? 0 : allowed / static_cast<double>(used_);
  }

  Campaign campaign_;
  Optimum optimum_;
  int64_t used_ = 0;
  int64_t bad_ = 0;
};

std::string call_text(const Settings& s) {
  return fmt::format(R"({{"name": "run", "arguments": {{"b": {}, "t": {:.0f}, "purge": {}}}}})",
                     shortest_double(s.feed_b_kg_s), s.temperature_k,
                     shortest_double(s.purge_fraction));
}

std::string settings_text(const Settings& s) {
  return fmt::format("b {:.1f} t {:.0f} purge {:.2f}", s.feed_b_kg_s, s.temperature_k,
                     s.purge_fraction);
}

}  // namespace

std::string question(const Unit& unit, int64_t experiments) {
  const Prices& p = unit.prices;
  return fmt::format(
      "Plant: feed A {:.1f} kg/s, hold-up {:.0f} kg. Prices in $/kg: product {:.2f}, fuel {:.3f}, "
      "A {:.3f}, B {:.3f}, waste {:.3f}. Limits in kg/s: waste {:.2f}, outflow {:.0f}; demand "
      "{:.2f}. Find the most profit in {} runs.",
      unit.feed_a_kg_s, unit.holdup_kg, p.product, p.fuel, p.feed_a, p.feed_b, p.waste,
      unit.waste_max_kg_s, unit.outflow_max_kg_s, unit.demand_kg_s, experiments);
}

std::string report(const Unit&, const Experiment& e) {
  const Measurement& m = e.measured;
  std::string text =
      fmt::format("profit {:.0f}, product {:.2f}, waste {:.2f}, outflow {:.0f}",
                  per_hour(m.profit_per_s), m.product_kg_s, m.waste_kg_s, m.outflow_kg_s);
  if (!e.outcome.waste_kept) text += ", too much waste";
  if (!e.outcome.outflow_kept) text += ", too much outflow";
  return text;
}

std::string settled_text(const Experiment* settled) {
  if (settled == nullptr) return "No run kept the limits.";
  return fmt::format("Best: {}, {:.0f} $/h.", settings_text(settled->settings),
                     per_hour(settled->measured.profit_per_s));
}

Json run_tool() { return parse_json(kRunTool, "run"); }

Json run_arguments(const Settings& s) {
  Json out = Json::object();
  out["b"] = s.feed_b_kg_s;
  out["t"] = static_cast<int64_t>(std::lround(s.temperature_k));
  out["purge"] = s.purge_fraction;
  return out;
}

Json item_of(const std::string& id, const Unit& unit, const Optimum& optimum, int64_t experiments) {
  Json item = Json::object();
  item["id"] = id;
  item["messages"].push_back(user_message(question(unit, experiments)));
  item["tools"].push_back(run_tool());
  item["experiments"] = experiments;
  item["unit"] = to_json(unit);
  item["optimum"] = to_json(optimum);
  return item;
}

std::unique_ptr<environments::Session> begin_episode(const Json& item, uint64_t seed,
                                                     int64_t sample) {
  const Json& fields = item.at("fields");
  const Unit unit = read_unit(fields.at("unit"));
  const int64_t budget = environments::read_budget(fields, "experiments");
  const Json* optimum = fields.find("optimum");
  return std::make_unique<PlantEpisode>(
      unit, optimum == nullptr ? find_optimum(unit) : read_optimum(*optimum), budget, seed, sample);
}

Json conversation(const Campaign& campaign) {
  Json out = Json::object();
  const auto count = static_cast<int64_t>(campaign.experiments().size());
  Json& messages = out["messages"];
  messages.push_back(user_message(question(campaign.unit(), count)));
  int64_t number = 0;
  for (const Experiment& e : campaign.experiments()) {
    const std::string id = fmt::format("call_{}", number++);
    messages.push_back(call_message(id, "run", run_arguments(e.settings)));
    if (number < count) messages.push_back(tool_message(id, report(campaign.unit(), e)));
  }
  out["tools"].push_back(run_tool());
  return out;
}

std::string text_of(const Campaign& campaign) {
  const auto count = static_cast<int64_t>(campaign.experiments().size());
  std::string text = fmt::format("{}\n{}\n", kRunTool, question(campaign.unit(), count));
  for (const Experiment& e : campaign.experiments())
    text += call_text(e.settings) + "\n" + report(campaign.unit(), e) + "\n";
  return text + settled_text(campaign.settled()) + "\n";
}

}  // namespace dure::plant
