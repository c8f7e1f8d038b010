// Distributions are lists of tokens with their probabilities. A draw walks the list; p - q is a
// merge of two, sorted by id.
#include "engine/speculation.h"

#include <algorithm>

namespace dure {
namespace {

bool by_id(const TokenProbability& a, const TokenProbability& b) { return a.token < b.token; }

void copy_by_id(std::span<const TokenProbability> from, std::vector<TokenProbability>& to) {
  to.assign(from.begin(), from.end());
  if (!std::is_sorted(to.begin(), to.end(), by_id)) std::sort(to.begin(), to.end(), by_id);
}

double probability_of(std::span<const TokenProbability> distribution, int32_t token) {
  for (const TokenProbability& t : distribution) {
    if (t.token == token) return t.probability;
  }
  return 0;
}

}  // namespace

int32_t draw_token(std::span<const TokenProbability> distribution, double uniform) {
  double sum = 0;
  for (const TokenProbability& t : distribution) {
    sum += t.probability;
    if (uniform < sum) return t.token;
  }
  return distribution.back().token;  // The sum may end a rounding short of 1.
}

DraftVerdict DraftJudge::judge(std::span<const TokenProbability> target,
                               std::span<const TokenProbability> draft, int32_t drafted,
                               double accept_uniform, double replace_uniform) {
  const double p = probability_of(target, drafted), q = probability_of(draft, drafted);
  if (accept_uniform * q < p) return {drafted, true};
  copy_by_id(target, target_);
  copy_by_id(draft, draft_);
  double total = 0;
  auto other = draft_.begin();
  for (TokenProbability& t : target_) {
    while (other != draft_.end() && other->token < t.token) ++other;
    if (other != draft_.end() && other->token == t.token)
      t.probability = std::max(0.0, t.probability - other->probability);
    total += t.probability;
  }
  // p <= q everywhere up to rounding: they are the same, and a rejection was a rounding itself.
  if (total <= 0) return {draw_token(target, replace_uniform), false};
  std::erase_if(target_, [](const TokenProbability& t) { return t.probability <= 0; });
  for (TokenProbability& t : target_) t.probability /= total;
  return {draw_token(target_, replace_uniform), false};
}

}  // namespace dure
