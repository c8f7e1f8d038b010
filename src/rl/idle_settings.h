// rl/idle_settings.h: settings that say something and do nothing, as the others stand: told, not
// refused, so that a recipe keeps them while its objective is changed.
//
// Not here: which those are (rl_trainer.cc, prefer_trainer.cc); settings that contradict each other
// are refused there.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace dure {

struct IdleSetting {
  std::string name;  // "objective.clip_low"
  bool idle = false;
  std::string when;  // "with objective rloo"
};

// A line for each of them that is idle and not what `plain`, the defaults, has.
std::vector<std::string> idle_settings(const Json& config, const Json& plain,
                                       const std::vector<IdleSetting>& settings);

}  // namespace dure
