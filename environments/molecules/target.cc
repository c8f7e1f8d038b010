// Ranges are rounded as conversations show them before anything is compared with them.
#include "molecules/target.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace dure::molecules {
namespace {

double outside(double value, double low, double high) {
  return std::max({0.0, low - value, value - high});
}

double number_of(const Json& json, const char* name) {
  const double value = json.at(name).as_double(name);
  if (!(std::abs(value) < 1e6)) fail(ErrorCode::kInvalidArgument, "target: {} is {}", name, value);
  return value;
}

}  // namespace

bool meets(const Properties& p, const Target& t) {
  return p.weight >= t.weight_min && p.weight <= t.weight_max && p.logp >= t.logp_min &&
         p.logp <= t.logp_max && p.qed >= t.qed_min && p.sa <= t.sa_max;
}

double score(const Properties& p, const Target& t) {
  return std::exp(-outside(p.weight, t.weight_min, t.weight_max) / 40 -
                  outside(p.logp, t.logp_min, t.logp_max) - outside(p.qed, t.qed_min, 1) / 0.15 -
                  outside(p.sa, 0, t.sa_max));
}

Target draw_target(const Chemistry& chemistry, uint64_t seed, uint64_t index, bool heldout) {
  Rng rng(seed, stream_id(heldout ? "molecules.heldout" : "molecules.train", index));
  while (true) {
    const auto p = chemistry.measure(smiles_of(draw_tree(rng)));
    if (!p || p->qed < 0.5 || p->weight > 450) continue;
    Target t;
    t.weight_min = std::round((p->weight - 30 * rng.uniform()) / 5) * 5;
    t.weight_max = t.weight_min + 30;
    t.logp_min = std::round((p->logp - 0.6 * rng.uniform()) * 10) / 10;
    t.logp_max = t.logp_min + 0.6;
    t.qed_min = std::floor((p->qed - 0.02) * 20) / 20;
    t.sa_max = std::ceil((p->sa + 0.05) * 5) / 5;
    if (meets(*p, t)) return t;
  }
}

Json to_json(const Target& t) {
  Json out = Json::object();
  out["weight_min"] = t.weight_min;
  out["weight_max"] = t.weight_max;
  out["logp_min"] = t.logp_min;
  out["logp_max"] = t.logp_max;
  out["qed_min"] = t.qed_min;
  out["sa_max"] = t.sa_max;
  return out;
}

Target read_target(const Json& json) {
  json.as_object("target");
  return {number_of(json, "weight_min"), number_of(json, "weight_max"), number_of(json, "logp_min"),
          number_of(json, "logp_max"),   number_of(json, "qed_min"),    number_of(json, "sa_max")};
}

std::vector<Drawn> draw_pool(const Chemistry& chemistry, uint64_t seed, int64_t count) {
  Rng rng(seed, stream_id("molecules.pool"));
  std::vector<Drawn> pool;
  while (static_cast<int64_t>(pool.size()) < count) {
    Drawn drawn = {draw_tree(rng), {}};
    const auto p = chemistry.measure(smiles_of(drawn.tree));
    if (!p || p->weight > 500) continue;
    drawn.properties = *p;
    pool.push_back(std::move(drawn));
  }
  return pool;
}

}  // namespace dure::molecules
