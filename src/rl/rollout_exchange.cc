// Each rank's share as bytes to all others.
#include "rl/rollout_exchange.h"

#include "base/check.h"
#include "rl/rollout_bytes.h"
#include "train/shards.h"

namespace dure {
namespace {

RolloutRange rollouts_of(int64_t group_count, int64_t group_size, int rank, int ranks) {
  const ItemRange groups = items_of_part(group_count, rank, ranks);
  return {static_cast<size_t>(groups.begin * group_size),
          static_cast<size_t>(groups.end * group_size)};
}

}  // namespace

RolloutRange own_rollouts(int64_t group_count, int64_t group_size, const Group& group) {
  return rollouts_of(group_count, group_size, group.rank(), group.size());
}

void share_rollouts(std::vector<Rollout>& rollouts, int64_t group_count, int64_t group_size,
                    Group& group) {
  if (group.size() == 1) return;
  const RolloutRange own = own_rollouts(group_count, group_size, group);
  const std::string mine =
      outcome_bytes(std::span(rollouts).subspan(own.begin, own.end - own.begin));
  const std::vector<std::string> all = group.all_gather_text(mine, "rollouts");
  for (int rank = 0; rank < group.size(); ++rank) {
    if (rank == group.rank()) continue;
    const RolloutRange range = rollouts_of(group_count, group_size, rank, group.size());
    take_outcomes(all[static_cast<size_t>(rank)],
                  std::span(rollouts).subspan(range.begin, range.end - range.begin));
  }
}

}  // namespace dure
