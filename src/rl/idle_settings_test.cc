// Settings of another objective are named, those of the chosen one and defaults are not.
#include "rl/idle_settings.h"

#include <gtest/gtest.h>

#include "rl/prefer_trainer.h"
#include "rl/rl_trainer.h"

namespace dure {
namespace {

using Lines = std::vector<std::string>;

TEST(IdleSettings, OfPreferencesAreThoseOfAnotherObjective) {
  PreferConfig c;
  for (const auto& [objective, name] : enum_names(PreferenceObjective{})) {
    c.objective = PreferenceOptions(objective);
    EXPECT_EQ(idle_settings(c), Lines()) << name;
  }
  c.objective = PreferenceOptions(PreferenceObjective::kDpo);
  c.objective.beta = 0.3;
  c.objective.simpo_gamma = 2;
  EXPECT_EQ(idle_settings(c),
            Lines{"objective.simpo_gamma is 2.0 and does nothing with objective dpo"});
  c.objective = PreferenceOptions(PreferenceObjective::kKto);
  c.objective.desirable_weight = 2;
  EXPECT_EQ(idle_settings(c), Lines());
  c.objective.objective = PreferenceObjective::kSimper;
  c.objective.beta = 0.3;
  EXPECT_EQ(idle_settings(c).size(), 2u);
}

TEST(IdleSettings, OfReinforcementLearningToo) {
  RlConfig c;
  for (const auto& [objective, name] : enum_names(Objective{})) {
    c.objective = ObjectiveOptions(objective);
    EXPECT_EQ(idle_settings(c), Lines()) << name;
  }
  c.objective = ObjectiveOptions(Objective::kRloo);
  c.objective.clip_low = 0.1;
  c.kl.estimator = KlEstimator::kK1;
  EXPECT_EQ(idle_settings(c),
            (Lines{"objective.clip_low is 0.1 and does nothing with objective rloo",
                   "kl.estimator is \"k1\" and does nothing while kl.beta is 0"}));
  c.kl.beta = 0.1;
  c.objective.objective = Objective::kGrpo;
  c.objective.epsilon = 1e-4;
  EXPECT_EQ(idle_settings(c), Lines());
}

}  // namespace
}  // namespace dure
