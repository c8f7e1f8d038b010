// environments/plant/search.h: experiments on a unit in order, how they are chosen without a
// language model, and what they are worth.
//
// Every searcher sees measurements only, and what is alarmed: limits that are broken. Of its
// experiments it would settle on the allowed one with the best measured profit; that one's true
// profit counts. Not here: conversations (episode.h), tables (baselines.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "plant/unit.h"

namespace dure::plant {

struct Experiment {
  Settings settings;
  Outcome outcome;
  Measurement measured;
};

// The experiments of one episode, with noise of its own: the same (seed, sample) shows the same
// plant the same measurements.
class Campaign {
 public:
  Campaign(const Unit& unit, uint64_t seed, uint64_t sample);
  const Experiment& try_settings(const Settings& settings);
  const std::vector<Experiment>& experiments() const { return experiments_; }
  const Unit& unit() const { return unit_; }
  // Which of the first `count` (all) would be settled on; nullptr where none was allowed.
  const Experiment* settled(size_t count = SIZE_MAX) const;

 private:
  Unit unit_;
  Rng noise_;
  std::vector<Experiment> experiments_;
};

struct Score {
  double regret = 1;  // (optimum - settled) / optimum, true profits; 1 where none is allowed
  bool within_5_percent = false;
  int64_t experiments_to_5_percent = 0;  // budget + 1 where it never came to be
  // Mean over the budget of max(0, 1 - regret) of what would have been settled on after 1, 2, ...
  // experiments: good settings count, and good ones early count more.
  double reward = 0;
};
Score score(const Campaign& campaign, const Optimum& optimum, int64_t budget);
double regret_after(const Campaign& campaign, const Optimum& optimum, size_t count);

enum class Method : uint8_t { kRandom, kGrid, kBayes, kUsual, kUsualBayes };
constexpr auto enum_names(Method) {
  return std::to_array<EnumName<Method>>({{Method::kRandom, "random"},
                                          {Method::kGrid, "grid"},
                                          {Method::kBayes, "bayes"},
                                          {Method::kUsual, "usual"},
                                          {Method::kUsualBayes, "usual+bayes"}});
}

// The one choice with the least regret over training units 0 to 59 of seed 1 (a grid of 0.3 kg/s,
// 4 K, 0.04). What an operator would begin with who knows the plant's kind, and not this plant.
constexpr Settings kUsual = {3.7, 358, 0.16};

// Runs `budget` experiments. `usual` tries kUsual alone; usual+bayes begins with it.
void search(Campaign& campaign, Method method, int64_t budget, Rng& rng);

}  // namespace dure::plant
