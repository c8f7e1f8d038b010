// engine/sequence.h: one request while it runs; internal to engine/.
//
// Tokens are numbered from the prompt's first: 0 .. token_count() - 1 are settled, drafts come
// after them and may still be thrown away. Not here: who decides (generator.cc), who drafts
// (drafter.h).
#pragma once

#include <algorithm>
#include <vector>

#include "engine/generator.h"

namespace dure {

struct Draft {
  int32_t token = 0;
  std::span<const float> logits;  // [V] of the MTP layer, what it was drawn from
};

struct Sequence {
  int64_t id = 0;
  GenerationRequest request;
  Generation result;
  int slot = -1;
  int64_t fed = 0;  // rows in the cache; between steps only settled tokens have one
  bool finished = false;
  std::vector<Draft> drafts;         // of the tokens after the newest
  std::vector<int32_t> with_drafts;  // result.tokens and drafts, where penalties look at them

  int64_t prompt_count() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t token_count() const {
    return prompt_count() + static_cast<int64_t>(result.tokens.size());
  }
  int64_t draft_count() const { return static_cast<int64_t>(drafts.size()); }
  int64_t unfed_count() const { return token_count() - fed; }  // settled, not yet in the cache

  int32_t token(int64_t i) const {
    if (i < prompt_count()) return request.prompt[static_cast<size_t>(i)];
    if (i < token_count()) return result.tokens[static_cast<size_t>(i - prompt_count())];
    return drafts[static_cast<size_t>(i - token_count())].token;
  }
  bool stops_at(int32_t token) const {
    const auto& stops = request.stop_tokens;
    return std::find(stops.begin(), stops.end(), token) != stops.end();
  }
  // What sampling sees after `ahead` drafts of those that are there.
  SamplingContext context(int64_t ahead) const {
    std::span<const int32_t> generated = result.tokens;
    if (ahead > 0 && request.sampling.changes_logits())
      generated = std::span(with_drafts).first(result.tokens.size() + static_cast<size_t>(ahead));
    return {.prompt = request.prompt, .generated = generated, .allowed = {}};
  }
};

}  // namespace dure
