// rl/rollout_exchange.h: rollouts spread over ranks: each samples and grades its groups, then all
// have all of them, as one rank would.
//
// A request's bits depend on it and its seed alone, so who samples it changes nothing. Not here:
// sampling and grading (rollout.h), the collectives (comm/group.h).
#pragma once

#include <vector>

#include "comm/group.h"
#include "rl/rollout.h"

namespace dure {

// Rollouts [begin, end) are this rank's: whole groups, of `group_count` with `group_size` each.
struct RolloutRange {
  size_t begin = 0, end = 0;
};
RolloutRange own_rollouts(int64_t group_count, int64_t group_size, const Group& group);

// Every rank has sampled and graded its own; afterwards all have what became of all. The prompts
// are there already.
void share_rollouts(std::vector<Rollout>& rollouts, int64_t group_count, int64_t group_size,
                    Group& group);

}  // namespace dure
