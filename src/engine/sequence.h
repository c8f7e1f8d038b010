// engine/sequence.h: one request while it is in the generator; internal to engine/.
//
// Tokens are numbered from the prompt's first: 0 .. token_count() - 1 are settled, drafts come
// after them and may still be thrown away. Not here: who decides (generator.cc), who runs
// (scheduler.h), who drafts (drafter.h, speculation.h).
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "base/rng.h"
#include "engine/draft_policy.h"
#include "engine/generator.h"
#include "engine/ngram_index.h"

namespace dure {

// What draws a request's token i, and a draft for it.
inline double draw_uniform(const GenerationRequest& request, int64_t index) {
  return Rng(request.sampling.seed, request.stream, 2 * static_cast<uint64_t>(index)).uniform();
}

struct Sequence {
  int64_t id = 0;
  GenerationRequest request;
  Generation result;
  int slot = -1;                // of the cache while it runs
  int64_t fed = 0;              // rows in the cache; between steps only settled tokens have one
  std::vector<int32_t> drafts;  // of the tokens after the newest

  // Of speculation: who made the drafts, how often they stood, the row that the next are drawn from
  // (mtp_drafter.h), and what was said (ngram_drafter.h).
  DraftKind draft_kind = DraftKind::kMtp;
  DraftRecord draft_record;
  int64_t mtp_row = 0;
  NgramIndex ngrams;
  bool ngrams_end = false;  // there was no memory for more

  // Of prefixes (prefix_cache.h). Rows before `kept` are good, the MTP layer's too; snapshots were
  // left as far as `gone_by`, and are at `points`.
  int64_t kept = 0, gone_by = 0;
  std::vector<int64_t> points;
  std::optional<int64_t> waits_for;  // the request that reads what this one begins with
  int64_t wait_until = 0;            // its rows
  int64_t passed_by = 0;             // others that entered before it meanwhile
  int64_t lost = 0;                  // rows that it had when it was pushed out
  bool outdated = false;             // its rows are of weights that have changed: none is kept

  int64_t fed_step = 0;  // when it was last given rows: whose turn it is among prompts
  // Goes through forwards of its own until so many rows are in: a forward that it had a part in
  // threw.
  int64_t alone_until = 0;
  // Of the pass that is being made.
  int64_t pass_from = 0;  // rows there were before
  bool settled = false;   // its newest token was drawn in it

  bool ended() const { return result.finish != FinishReason::kRunning; }
  bool runs() const { return slot >= 0 && !ended(); }
  bool alone() const { return fed < alone_until; }

  int64_t prompt_count() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t new_count() const { return static_cast<int64_t>(result.tokens.size()); }
  int64_t token_count() const { return prompt_count() + new_count(); }
  int64_t token_count_max() const { return prompt_count() + request.new_tokens_max; }
  int64_t draft_count() const { return static_cast<int64_t>(drafts.size()); }
  int64_t unfed_count() const { return token_count() - fed; }  // settled, not yet in the cache
  bool decodes() const { return unfed_count() == 1 && new_count() > 0; }
  // Rows that are settled and known, before those of a pass that draws: the newest token waits for
  // its drafts, which the rows before it give.
  int64_t replay_count() const { return new_count() > 0 ? unfed_count() - 1 : 0; }

  int32_t token(int64_t i) const {
    if (i < prompt_count()) return request.prompt[static_cast<size_t>(i)];
    if (i < token_count()) return result.tokens[static_cast<size_t>(i - prompt_count())];
    return drafts[static_cast<size_t>(i - token_count())];
  }
  bool stops_at(int32_t token) const {
    const auto& stops = request.stop_tokens;
    return std::find(stops.begin(), stops.end(), token) != stops.end();
  }

  void start() {
    const int64_t more = std::min(request.new_tokens_max, kRoomMax);
    if (request.sampling.penalises()) seen_ = TokenCounts(request.prompt, {}, more);
    if (request.mask) with_drafts_.reserve(static_cast<size_t>(more));
  }
  void add_token(int32_t token, float log_probability) {
    result.tokens.push_back(token);
    result.log_probabilities.push_back(log_probability);
    if (request.sampling.penalises()) seen_.add(token);
    if (request.mask) with_drafts_.push_back(token);
  }
  void add_draft(int32_t token) {
    if (request.mask) with_drafts_.push_back(token);
    drafts.push_back(token);
  }
  void drop_drafts() {
    count_drafts(0);
    drafts.clear();
    if (request.mask) with_drafts_.resize(result.tokens.size());
  }
  // What sampling sees after `ahead` drafts of those that are there; until the next call. Throws
  // what the mask throws.
  SamplingContext context(int64_t ahead, int64_t vocab_size) {
    count_drafts(ahead);
    SamplingContext out{.seen = &seen_};
    if (new_count() + ahead < request.new_tokens_min) out.forbidden = request.stop_tokens;
    if (!request.mask) return out;
    out.allowed = request.mask->allowed(
        std::span(with_drafts_).first(result.tokens.size() + static_cast<size_t>(ahead)));
    if (!out.allowed.empty() && std::ssize(out.allowed) * 64 < vocab_size) {
      fail(ErrorCode::kInvalidArgument, "the token mask has {} bits for a vocabulary of {}",
           std::ssize(out.allowed) * 64, vocab_size);
    }
    return out;
  }

 private:
  // Longer answers make their lists longer as they go, now and then.
  static constexpr int64_t kRoomMax = 4096;

  void count_drafts(int64_t count) {
    if (!request.sampling.penalises()) return;
    for (; counted_drafts_ < count; ++counted_drafts_)
      seen_.add(drafts[static_cast<size_t>(counted_drafts_)]);
    for (; counted_drafts_ > count; --counted_drafts_)
      seen_.remove(drafts[static_cast<size_t>(counted_drafts_ - 1)]);
  }

  TokenCounts seen_;  // with the first `counted_drafts_`; where penalties look
  int64_t counted_drafts_ = 0;
  std::vector<int32_t> with_drafts_;  // result.tokens and drafts; where a mask looks
};

}  // namespace dure
