// cli/rank_facts.h: what ranks of one run must have in common for their bits to be those of one
// process: the build, the instruction set, the configuration.
//
// Not here: the comparison (comm/ranks.h).
#pragma once

#include <vector>

#include "base/json.h"
#include "comm/ranks.h"

namespace dure {

// `config`: as given, fields set on the command line included.
std::vector<RankFact> rank_facts(const Json& config);

}  // namespace dure
