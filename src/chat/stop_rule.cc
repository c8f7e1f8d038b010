// The union of the places that name a model's end tokens.
#include "chat/stop_rule.h"

#include <algorithm>

namespace dure {

bool StopRule::stops_at(int32_t token) const {
  return std::binary_search(tokens.begin(), tokens.end(), token);
}

StopRule stop_rule(const StopSources& sources) {
  StopRule rule;
  for (const int64_t id : sources.generation ? *sources.generation : sources.config)
    rule.tokens.push_back(static_cast<int32_t>(id));
  if (sources.tokenizer) rule.tokens.push_back(*sources.tokenizer);
  std::sort(rule.tokens.begin(), rule.tokens.end());
  rule.tokens.erase(std::unique(rule.tokens.begin(), rule.tokens.end()), rule.tokens.end());
  return rule;
}

}  // namespace dure
