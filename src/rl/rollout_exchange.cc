// What a rank adds to a rollout as bytes: numbers as they lie in memory, so that log-probabilities
// keep their bits.
#include "rl/rollout_exchange.h"

#include "base/check.h"
#include "comm/packer.h"
#include "train/shards.h"

namespace dure {
namespace {

void pack(const Rollout& r, Packer& out) {
  const Generation& g = r.generation;
  out.list(g.tokens);
  out.list(g.log_probabilities);
  out.number(g.finish);
  for (const int64_t count : {g.cached_tokens, g.drafted, g.accepted}) out.number(count);
  out.text(r.reasoning);
  out.text(r.content);
  out.number(r.reward);
  out.number(r.score);
  out.number(r.dropped);
  out.json(r.parts);
  out.number(r.grade.score.has_value());
  out.number(r.grade.score.value_or(0));
  out.text(r.grade.extracted);
  out.text(r.grade.reason);
  out.json(r.grade.parts);
  out.text(r.grade.failure);
}

void unpack(Unpacker& in, Rollout& r) {
  Generation& g = r.generation;
  g.tokens = in.list<int32_t>();
  g.log_probabilities = in.list<float>();
  g.finish = in.number<FinishReason>();
  for (int64_t* count : {&g.cached_tokens, &g.drafted, &g.accepted}) *count = in.number<int64_t>();
  r.reasoning = in.text();
  r.content = in.text();
  r.reward = in.number<double>();
  r.score = in.number<double>();
  r.dropped = in.number<bool>();
  r.parts = in.json();
  const bool known = in.number<bool>();
  const auto score = in.number<double>();
  r.grade.score = known ? std::optional(score) : std::nullopt;
  r.grade.extracted = in.text();
  r.grade.reason = in.text();
  r.grade.parts = in.json();
  r.grade.failure = in.text();
}

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
  Packer mine;
  const RolloutRange own = own_rollouts(group_count, group_size, group);
  for (size_t i = own.begin; i < own.end; ++i) pack(rollouts[i], mine);
  const std::vector<std::string> all = group.all_gather_text(mine.bytes(), "rollouts");
  for (int rank = 0; rank < group.size(); ++rank) {
    if (rank == group.rank()) continue;
    Unpacker theirs(all[static_cast<size_t>(rank)]);
    const RolloutRange range = rollouts_of(group_count, group_size, rank, group.size());
    for (size_t i = range.begin; i < range.end; ++i) unpack(theirs, rollouts[i]);
    DURE_CHECK(theirs.empty(), "rollouts of {}", group.name_of(rank));
  }
}

}  // namespace dure
