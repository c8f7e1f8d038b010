// Names first, then files.
#include "cli/served_adapters.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "cli/named_path.h"

namespace dure {

std::vector<ServedAdapter> open_adapters(const std::vector<std::string>& given,
                                         const std::vector<std::string>& taken,
                                         const OpenModel& model, Stream& stream) {
  std::vector<ServedAdapter> out;
  std::set<std::string> names(taken.begin(), taken.end());
  for (NamedPath& one : named_paths(given, "--adapter")) {
    if (!names.insert(one.name).second)
      fail(ErrorCode::kInvalidArgument,
           "--adapter {}: the name {} is the model's own: give it another, as NAME={}", one.path,
           one.name, one.path);
    auto adapter = open_adapter(one.path, model.weights.config, stream);
    out.push_back({std::move(one.name), std::move(one.path), std::move(adapter)});
    log_info("adapter {}: rank {}", out.back().name, out.back().adapter->rank_max);
  }
  return out;
}

int64_t largest_rank(std::span<const ServedAdapter> adapters) {
  int64_t out = 0;
  for (const ServedAdapter& one : adapters) out = std::max(out, one.adapter->rank_max);
  return out;
}

void refuse_expert_adapter(const ModelAdapter& adapter, const std::string& name, int64_t ranks) {
  if (!adds_to_experts(adapter)) return;
  fail(ErrorCode::kUnsupported,
       "--adapter {}: it adds to routed experts, which {} ranks share: use it with one process, or "
       "merge it first (dure convert --adapter)",
       name, ranks);
}

void refuse_expert_adapters(std::span<const ServedAdapter> adapters, int64_t ranks) {
  for (const ServedAdapter& one : adapters) refuse_expert_adapter(*one.adapter, one.name, ranks);
}

}  // namespace dure
