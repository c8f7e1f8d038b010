// Parts that have no weight are not computed.
#include "rl/reward.h"

#include <algorithm>

#include "grade/language.h"

namespace dure {
namespace {

bool well_formed(const AnswerFacts& facts) {
  return facts.finished && facts.reasoning_closed && !facts.content.empty() &&
         facts.content.find("<tool_call>") == std::string::npos;
}

bool in_language(const AnswerFacts& facts) {
  if (facts.language.empty()) return true;
  const std::optional<std::string> found = language_of(facts.content);
  // Numbers and signs are of every language.
  return !found || found->substr(0, 2) == facts.language.substr(0, 2);
}

}  // namespace

double overlong_penalty(int64_t tokens, int64_t tokens_max, int64_t cache_tokens) {
  const int64_t cache =
      std::clamp(cache_tokens > 0 ? cache_tokens : tokens_max / 5, int64_t{1}, tokens_max);
  const double over = static_cast<double>(tokens - (tokens_max - cache));
  return -std::clamp(over / static_cast<double>(cache), 0.0, 1.0);
}

Reward reward_of(const RewardOptions& options, const AnswerFacts& facts) {
  Reward out{.value = options.correct * facts.score};
  Json parts = Json::object();
  parts["correct"] = facts.score;
  const auto add = [&](const char* name, double weight, const auto& value) {
    if (weight == 0) return;
    const double part = value();
    parts[name] = part;
    out.value += weight * part;
  };
  add("format", options.format, [&] { return well_formed(facts) ? 1.0 : 0.0; });
  add("length", options.length, [&] {
    return 1.0 - static_cast<double>(facts.tokens) / static_cast<double>(facts.tokens_max);
  });
  add("language", options.language, [&] { return in_language(facts) ? 1.0 : 0.0; });
  add("overlong", options.overlong, [&] {
    return overlong_penalty(facts.tokens, facts.tokens_max, options.overlong_cache_tokens);
  });
  if (parts.size() > 1 || options.correct != 1) out.parts = std::move(parts);
  return out;
}

}  // namespace dure
