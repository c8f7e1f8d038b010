// Runs of tensors by the least largest share, found by halving.
#include "train/shards.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/check.h"
#include "base/error.h"

namespace dure {
namespace {

// Where runs start if none may cost more than `most`; as few as do.
std::vector<size_t> runs(std::span<const int64_t> costs, int64_t most) {
  std::vector<size_t> first{0};
  int64_t cost = 0;
  for (size_t t = 0; t < costs.size(); ++t) {
    if (cost + costs[t] > most) {
      first.push_back(t);
      cost = 0;
    }
    cost += costs[t];
  }
  return first;
}

}  // namespace

Shards share_out(const Parameters& parameters, std::span<const int64_t> costs, int ranks) {
  std::vector<int64_t> first_elements;
  for (const Parameter& p : parameters.list()) first_elements.push_back(p.offset);
  first_elements.push_back(parameters.flat().elements());
  return share_out(first_elements, costs, ranks);
}

Shards share_out(std::span<const int64_t> first_elements, std::span<const int64_t> costs,
                 int ranks) {
  DURE_CHECK(costs.size() + 1 == first_elements.size(), "{} costs for {} tensors", costs.size(),
             first_elements.size() - 1);
  int64_t low = costs.empty() ? 0 : *std::ranges::max_element(costs);
  int64_t high = std::reduce(costs.begin(), costs.end());
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const bool enough = std::ssize(runs(costs, middle)) <= ranks;
    (enough ? high : low) = enough ? middle : middle + 1;
  }
  Shards out{.first_tensor = runs(costs, low)};
  out.first_tensor.resize(static_cast<size_t>(ranks) + 1, costs.size());
  for (const size_t t : out.first_tensor) out.first_elements.push_back(first_elements[t]);
  for (size_t r = 0; r < static_cast<size_t>(ranks); ++r)
    out.elements.push_back(out.first_elements[r + 1] - out.first_elements[r]);
  return out;
}

PartRange parts_of(const Group& group, int64_t part_count) {
  DURE_CHECK(part_count % group.size() == 0, "{} parts for {} ranks", part_count, group.size());
  const int64_t each = part_count / group.size();
  return {each * group.rank(), each};
}

void check_parts(int64_t data_ranks, int64_t part_count, const std::string& source,
                 const std::string& field, const std::string& hint) {
  const bool whole = part_count % data_ranks == 0;
  if (data_ranks == 1) return;
  if (whole && std::has_single_bit(static_cast<uint64_t>(part_count / data_ranks))) return;
  fail(
      ErrorCode::kInvalidArgument,
      "{}: ranks.data is {}, but a step is summed in {} part{} ({}), which is not ranks.data times "
      "1, 2, 4, ...: {} (docs/ranks.md)",
      source, data_ranks, part_count, part_count == 1 ? "" : "s", field, hint);
}

std::vector<double> sum_over_parts(std::span<const double> own, int64_t width, int64_t part_count,
                                   Group& group) {
  std::vector<double> all(static_cast<size_t>(part_count * width));
  const std::vector<int64_t> counts(static_cast<size_t>(group.size()), std::ssize(own));
  group.all_gather(own, counts, std::span(all), "losses");
  std::vector<std::span<double>> parts;
  for (int64_t p = 0; p < part_count; ++p)
    parts.push_back(
        std::span(all).subspan(static_cast<size_t>(p * width), static_cast<size_t>(width)));
  tree_sum(parts);
  all.resize(static_cast<size_t>(width));
  return all;
}

void refuse_adapter_over_ranks(bool adapter, int64_t data_ranks, const std::string& source) {
  if (!adapter || data_ranks == 1) return;
  fail(ErrorCode::kUnsupported,
       "{}: ranks.data is {} with lora: an adapter is trained on one rank; leave ranks away",
       source, data_ranks);
}

}  // namespace dure
