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

Shards share_out(const ParameterLayout& layout, std::span<const int64_t> costs, int ranks) {
  const std::vector<int64_t>& offsets = layout.offsets;
  DURE_CHECK(costs.size() == offsets.size(), "{} costs for {} tensors", costs.size(),
             offsets.size());
  int64_t low = costs.empty() ? 0 : *std::ranges::max_element(costs);
  int64_t high = std::reduce(costs.begin(), costs.end());
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const bool enough = std::ssize(runs(costs, middle)) <= ranks;
    (enough ? high : low) = enough ? middle : middle + 1;
  }
  Shards out{.first_tensor = runs(costs, low)};
  out.first_tensor.resize(static_cast<size_t>(ranks) + 1, offsets.size());
  for (const size_t t : out.first_tensor)
    out.first_elements.push_back(t < offsets.size() ? offsets[t] : layout.elements);
  for (size_t r = 0; r < static_cast<size_t>(ranks); ++r)
    out.elements.push_back(out.first_elements[r + 1] - out.first_elements[r]);
  return out;
}

PartRange parts_of(const Group& group, int64_t part_count) {
  DURE_CHECK(part_count % group.size() == 0, "{} parts for {} ranks", part_count, group.size());
  const int64_t each = part_count / group.size();
  return {each * group.rank(), each};
}

void check_parts(const MeshShape& ranks, int64_t part_count, const std::string& source,
                 const std::string& field, const std::string& hint) {
  const int64_t sharing = ranks.batch();
  if (sharing == 1) return;
  if (ranks.data > 1 && !std::has_single_bit(static_cast<uint64_t>(ranks.expert)))
    fail(ErrorCode::kInvalidArgument,
         "{}: ranks.expert is {} and ranks.data {}: beside data ranks the expert ranks are a power "
         "of two, so that each expert group has a branch of the tree over parts: set ranks.expert "
         "to 2, 4, ..., or ranks.data to 1 (docs/ranks.md)",
         source, ranks.expert, ranks.data);
  const bool whole = part_count % sharing == 0;
  if (whole && std::has_single_bit(static_cast<uint64_t>(part_count / sharing))) return;
  const std::string factors = ranks.expert == 1 ? "" : " x ranks.expert";
  fail(ErrorCode::kInvalidArgument,
       "{}: ranks.data{} is {}, but a step is summed in {} part{} ({}), which is not ranks.data{} "
       "times 1, 2, 4, ...: {} (docs/ranks.md)",
       source, factors, sharing, part_count, part_count == 1 ? "" : "s", field, factors, hint);
}

void check_experts_over_ranks(const ModelConfig& config, const MeshShape& ranks,
                              const std::string& source) {
  if (ranks.expert == 1) return;
  if (config.sparse_layer_count() == 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: ranks.expert is {}, but the model has no experts: give its ranks to ranks.data",
         source, ranks.expert);
  if (const std::optional<int64_t> layer = first_uneven_layer(config, ranks.expert))
    fail(ErrorCode::kInvalidArgument,
         "{}: ranks.expert is {}, which does not divide the {} experts of layer {}: set it to a "
         "divisor",
         source, ranks.expert, config.layer(*layer).experts.count, *layer);
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

}  // namespace dure
