// Group by group in the order of first appearance, then over the whole batch where the objective
// wants it, then a scale for each response. Also what each objective takes as defaults.
#include "rl/advantages.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"

namespace dure {
namespace {

using enum Objective;

struct Group {
  std::vector<size_t> rows;
  double mean = 0;
  bool dead = false;
};

double mean_of(const std::vector<size_t>& rows, std::span<const double> values) {
  double sum = 0;
  for (const size_t row : rows) sum += values[row];
  return rows.empty() ? 0 : sum / static_cast<double>(rows.size());
}

double deviation_of(const std::vector<size_t>& rows, std::span<const double> values, double mean,
                    bool sample) {
  const double divisor = static_cast<double>(rows.size()) - (sample ? 1 : 0);
  if (divisor <= 0) return 0;
  double squares = 0;
  for (const size_t row : rows) squares += (values[row] - mean) * (values[row] - mean);
  return std::sqrt(squares / divisor);
}

// In the order in which the groups first appear, so that sums do not depend on what the ids are.
std::vector<Group> form_groups(std::span<const int64_t> ids, std::span<const double> rewards) {
  std::vector<Group> groups;
  std::map<int64_t, size_t> index;
  for (size_t row = 0; row < ids.size(); ++row) {
    const auto [at, fresh] = index.try_emplace(ids[row], groups.size());
    if (fresh) groups.emplace_back();
    groups[at->second].rows.push_back(row);
  }
  for (Group& group : groups) {
    group.mean = mean_of(group.rows, rewards);
    const double first = rewards[group.rows.front()];
    group.dead = std::all_of(group.rows.begin(), group.rows.end(),
                             [&](size_t row) { return rewards[row] == first; });
  }
  return groups;
}

void set_group_advantages(const ObjectiveOptions& options, const Group& group,
                          std::span<const double> rewards, std::vector<double>& advantages) {
  const bool leave_one_out = options.objective == kAgapo || options.objective == kRloo;
  const bool centred = leave_one_out || options.objective == kDrGrpo;
  const double count = static_cast<double>(group.rows.size());
  const double deviation =
      centred ? 1 : deviation_of(group.rows, rewards, group.mean, true) + options.epsilon;
  for (const size_t row : group.rows) {
    // The mean of the others, from the sum: R - (sum - R) / (n - 1).
    advantages[row] = leave_one_out
                          ? rewards[row] - (group.mean * count - rewards[row]) / (count - 1)
                          : (rewards[row] - group.mean) / deviation;
  }
}

// agapo: the leave-one-out values of all live responses together, to mean 0 and deviation 1.
void normalise_over_batch(const ObjectiveOptions& options, const std::vector<size_t>& live_rows,
                          std::vector<double>& advantages) {
  const double mean = mean_of(live_rows, advantages);
  const double deviation =
      deviation_of(live_rows, advantages, mean, options.deviation == Deviation::kSample) +
      options.epsilon;
  for (const size_t row : live_rows)
    advantages[row] = deviation > 0 ? (advantages[row] - mean) / deviation : 0;
}

double response_scale(const ObjectiveOptions& options, const ResponseWeights& batch,
                      size_t group_size, int64_t tokens) {
  if (tokens == 0) return 0;
  const Objective objective = options.objective;
  if (objective == kRloo) return 1.0 / static_cast<double>(batch.live_response_count);
  if (objective == kDrGrpo)
    return 1.0 / static_cast<double>(batch.live_response_count * options.length_constant);
  if (objective == kDapo || objective == kCispo)
    return 1.0 / static_cast<double>(batch.live_token_count);
  return 1.0 / (static_cast<double>(batch.live_group_count) * static_cast<double>(group_size) *
                static_cast<double>(tokens));
}

}  // namespace

ObjectiveOptions::ObjectiveOptions(Objective chosen)
    : objective(chosen),
      drop_zero_variance(chosen == kAgapo || chosen == kDapo || chosen == kCispo),
      ratio_max(chosen == kCispo ? 5.0 : 2.0),
      clip_low(chosen == kGspo ? 3e-4 : 0.2),
      clip_high(chosen == kGspo   ? 4e-4
                : chosen == kDapo ? 0.28
                                  : 0.2) {
  const bool plain = chosen == kAgapo || chosen == kRloo || chosen == kDrGrpo;
  epsilon = plain ? 1e-6 : 1e-4;
}

void ObjectiveOptions::take_defaults(const Json& fields, const std::string& where) {
  const Json* name = fields.find("objective");
  if (name == nullptr) return;
  const std::string place = where + ": objective";
  const auto chosen = enum_from_name<Objective>(name->as_string(place), place);
  if (chosen != objective) *this = ObjectiveOptions(chosen);
}

ResponseWeights weigh_responses(const ObjectiveOptions& options, std::span<const int64_t> ids,
                                std::span<const double> rewards,
                                std::span<const int64_t> token_counts) {
  DURE_CHECK(ids.size() == rewards.size() && ids.size() == token_counts.size());
  for (size_t row = 0; row < ids.size(); ++row)
    DURE_CHECK(std::isfinite(rewards[row]) && token_counts[row] >= 0, "response {}", row);
  const std::vector<Group> groups = form_groups(ids, rewards);
  ResponseWeights out;
  out.live.assign(ids.size(), 0);
  out.advantages.assign(ids.size(), 0);
  out.scales.assign(ids.size(), 0);
  out.group_count = static_cast<int64_t>(groups.size());
  std::vector<size_t> live_rows;
  for (const Group& group : groups) {
    out.dead_group_count += group.dead ? 1 : 0;
    if (group.dead && options.drop_zero_variance) continue;
    ++out.live_group_count;
    for (const size_t row : group.rows) {
      out.live[row] = 1;
      out.live_token_count += token_counts[row];
    }
    if (!group.dead) set_group_advantages(options, group, rewards, out.advantages);
  }
  for (size_t row = 0; row < ids.size(); ++row) {
    if (out.live[row] != 0) live_rows.push_back(row);
  }
  out.live_response_count = static_cast<int64_t>(live_rows.size());
  if (options.objective == kAgapo) normalise_over_batch(options, live_rows, out.advantages);
  for (const Group& group : groups) {
    for (const size_t row : group.rows) {
      if (group.dead) out.advantages[row] = 0;
      if (out.live[row] != 0)
        out.scales[row] = response_scale(options, out, group.rows.size(), token_counts[row]);
    }
  }
  return out;
}

}  // namespace dure
