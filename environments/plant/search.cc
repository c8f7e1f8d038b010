// Bayesian optimisation maximises constrained expected improvement over random points and points
// near the best that was allowed.
#include "plant/search.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "base/check.h"
#include "plant/gaussian_process.h"

namespace dure::plant {
namespace {

Point random_point(Rng& rng) { return {rng.uniform(), rng.uniform(), rng.uniform()}; }

// The smallest full grid with `budget` cells or more, cells' centres, in random order.
std::vector<Point> grid_points(int64_t budget, Rng& rng) {
  int64_t levels = 2;
  while (levels * levels * levels < budget) ++levels;
  const auto centre = [&](int64_t i) {
    return (static_cast<double>(i) + 0.5) / static_cast<double>(levels);
  };
  std::vector<Point> points;
  for (int64_t i = 0; i < levels; ++i)
    for (int64_t j = 0; j < levels; ++j)
      for (int64_t k = 0; k < levels; ++k) points.push_back({centre(i), centre(j), centre(k)});
  rng.shuffle(points);
  points.resize(static_cast<size_t>(budget));
  return points;
}

// What is known of a unit: profit, and the flows that have limits, as logarithms of their shares.
struct Models {
  GaussianProcess profit;
  GaussianProcess waste;
  GaussianProcess outflow;
  std::optional<double> best_allowed;  // measured profit [$/s]
};

Models models_of(const Campaign& campaign) {
  std::vector<Point> points;
  std::vector<double> profit;
  std::vector<double> waste;
  std::vector<double> outflow;
  const Unit& unit = campaign.unit();
  for (const Experiment& e : campaign.experiments()) {
    points.push_back(point_of(e.settings));
    profit.push_back(e.measured.profit_per_s);
    waste.push_back(std::log(std::max(e.measured.waste_kg_s, 1e-6) / unit.waste_max_kg_s));
    outflow.push_back(std::log(std::max(e.measured.outflow_kg_s, 1e-6) / unit.outflow_max_kg_s));
  }
  const Experiment* settled = campaign.settled();
  return {GaussianProcess(points, profit, kProfitNoisePerS),
          GaussianProcess(points, waste, kFlowNoise), GaussianProcess(points, outflow, kFlowNoise),
          settled == nullptr ? std::nullopt : std::optional(settled->measured.profit_per_s)};
}

// Expected improvement, times the chance that both limits are kept (J. R. Gardner et al., ICML
// 2014); that chance alone until something was allowed.
double promise(const Models& models, const Point& point) {
  const auto kept = [&](const GaussianProcess& flow) {
    const auto [mean, deviation] = flow.at(point);
    return 0.5 * std::erfc(mean / (std::max(deviation, 1e-9) * std::numbers::sqrt2));
  };
  const double allowed = kept(models.waste) * kept(models.outflow);
  if (!models.best_allowed) return allowed;
  return allowed * expected_improvement(models.profit.at(point), *models.best_allowed);
}

Point most_promising(const Campaign& campaign, Rng& rng) {
  const Models models = models_of(campaign);
  const Experiment* settled = campaign.settled();
  Point chosen = random_point(rng);
  double most = -1;
  for (int i = 0; i < 500; ++i) {
    Point point = random_point(rng);
    if (i % 2 == 1 && settled != nullptr) {
      const Point near = point_of(settled->settings);
      for (size_t axis = 0; axis < 3; ++axis)
        point[axis] = std::clamp(near[axis] + 0.1 * rng.normal(), 0.0, 1.0);
    }
    const double gain = promise(models, point);
    if (gain <= most) continue;
    most = gain;
    chosen = point;
  }
  return chosen;
}

void search_bayes(Campaign& campaign, int64_t budget, int64_t random_first, Rng& rng) {
  while (static_cast<int64_t>(campaign.experiments().size()) < budget) {
    const bool blind = static_cast<int64_t>(campaign.experiments().size()) < random_first;
    campaign.try_settings(
        rounded(settings_at(blind ? random_point(rng) : most_promising(campaign, rng))));
  }
}

}  // namespace

Campaign::Campaign(const Unit& unit, uint64_t seed, uint64_t sample)
    : unit_(unit), noise_(seed, stream_id("plant.noise", sample)) {}

const Experiment& Campaign::try_settings(const Settings& settings) {
  DURE_CHECK(within_bounds(settings), "settings outside their bounds");
  Experiment experiment{settings, run(unit_, settings), {}};
  experiment.measured = measure(experiment.outcome, noise_);
  experiments_.push_back(experiment);
  return experiments_.back();
}

const Experiment* Campaign::settled(size_t count) const {
  const Experiment* best = nullptr;
  for (size_t i = 0; i < std::min(count, experiments_.size()); ++i) {
    const Experiment& e = experiments_[i];
    if (!e.outcome.allowed()) continue;
    if (best == nullptr || e.measured.profit_per_s > best->measured.profit_per_s) best = &e;
  }
  return best;
}

double regret_after(const Campaign& campaign, const Optimum& optimum, size_t count) {
  const Experiment* settled = campaign.settled(count);
  if (settled == nullptr) return 1;
  return (optimum.profit_per_s - settled->outcome.profit_per_s) / optimum.profit_per_s;
}

Score score(const Campaign& campaign, const Optimum& optimum, int64_t budget) {
  Score out;
  out.experiments_to_5_percent = budget + 1;
  for (int64_t n = budget; n >= 1; --n) {
    const double regret = regret_after(campaign, optimum, static_cast<size_t>(n));
    out.reward += std::max(0.0, 1 - regret) / static_cast<double>(budget);
    if (regret <= 0.05 && n <= static_cast<int64_t>(campaign.experiments().size()))
      out.experiments_to_5_percent = n;
  }
  out.reward = std::min(out.reward, 1.0);
  out.regret = regret_after(campaign, optimum, SIZE_MAX);
  out.within_5_percent = out.regret <= 0.05;
  return out;
}

void search(Campaign& campaign, Method method, int64_t budget, Rng& rng) {
  switch (method) {
    case Method::kRandom:
      return search_bayes(campaign, budget, budget, rng);
    case Method::kGrid:
      for (const Point& point : grid_points(budget, rng))
        campaign.try_settings(rounded(settings_at(point)));
      return;
    case Method::kBayes:
      return search_bayes(campaign, budget, 3, rng);
    case Method::kUsual:
      campaign.try_settings(kUsual);
      return;
    case Method::kUsualBayes:
      campaign.try_settings(kUsual);
      return search_bayes(campaign, budget, 1, rng);
  }
}

}  // namespace dure::plant
