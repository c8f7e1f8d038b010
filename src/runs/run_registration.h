// runs/run_registration.h: a run's row in the registry, from its beginning to its end.
//
// Owns when the row is written and what it says of how the run ended. A registry that fails costs a
// warning, never the run. Not here: the file (registry.h).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runs/registry.h"

namespace dure {

struct RunStart {
  std::string kind;
  Path folder;
  Json config;
  int64_t steps = 0;
};

// Writes the row, calls `work`, and writes how that ended; what `work` throws goes on.
void run_registered(const RunStart& start, const std::function<void()>& work);

}  // namespace dure
