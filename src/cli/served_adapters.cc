// Names first, then files.
#include "cli/served_adapters.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/log.h"

namespace dure {

std::vector<ServedAdapter> open_adapters(const std::vector<std::string>& given,
                                         const std::vector<std::string>& taken,
                                         const OpenModel& model, Stream& stream) {
  std::vector<ServedAdapter> out;
  std::set<std::string> names(taken.begin(), taken.end());
  for (const std::string& text : given) {
    const size_t sign = text.find('=');
    const std::string path = sign == std::string::npos ? text : text.substr(sign + 1);
    std::string name =
        sign == std::string::npos ? Path(path).filename().string() : text.substr(0, sign);
    if (name.empty() || path.empty())
      fail(ErrorCode::kInvalidArgument, "--adapter {}: give NAME=PATH", text);
    if (!names.insert(name).second)
      fail(ErrorCode::kInvalidArgument, "--adapter {}: the name {} is given twice", text, name);
    out.push_back({std::move(name), path, open_adapter(path, model.weights.config, stream)});
    log_info("adapter {}: rank {}", out.back().name, out.back().adapter->rank_max);
  }
  return out;
}

int64_t largest_rank(std::span<const ServedAdapter> adapters) {
  int64_t out = 0;
  for (const ServedAdapter& one : adapters) out = std::max(out, one.adapter->rank_max);
  return out;
}

void refuse_expert_adapters(std::span<const ServedAdapter> adapters, int64_t ranks) {
  for (const ServedAdapter& one : adapters) {
    if (adds_to_experts(*one.adapter))
      fail(ErrorCode::kUnsupported,
           "--adapter {}: it adds to routed experts, which {} ranks share: serve it from one "
           "process, or merge it first (dure convert --adapter)",
           one.name, ranks);
  }
}

}  // namespace dure
