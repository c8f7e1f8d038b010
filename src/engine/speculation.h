// engine/speculation.h: when a drafted token may stand: the rule that leaves the model's own
// distribution untouched.
//
// A draft x drawn from q stands with probability min(1, p(x) / q(x)); otherwise the token is drawn
// from max(0, p - q), normalised. Its distribution is then p exactly, whatever q was (Leviathan et
// al., "Fast inference from transformers via speculative decoding", 2023, theorem 3.5; Chen et al.,
// 2023). With temperature 0 both are single tokens, and the rule says: equal or replaced. Not here:
// where p and q come from (sampler.h), who drafts (drafter.h).
#pragma once

#include <span>
#include <vector>

#include "engine/sampler.h"

namespace dure {

struct DraftVerdict {
  int32_t token = 0;
  bool accepted = false;
};

class DraftJudge {
 public:
  // target: p, draft: q, each a distribution with every id once, in any order. drafted: drawn from
  // q. The uniforms, in [0, 1), are independent of each other and of the draw.
  DraftVerdict judge(std::span<const TokenProbability> target,
                     std::span<const TokenProbability> draft, int32_t drafted,
                     double accept_uniform, double replace_uniform);

 private:
  std::vector<TokenProbability> target_, draft_;  // by id; the first becomes the residual
};

// The first token whose cumulative probability exceeds `uniform`. Not empty.
int32_t draw_token(std::span<const TokenProbability> distribution, double uniform);

}  // namespace dure
