// grammar/token_matcher.h: one request's way through a grammar, token by token.
//
// Owns the places and the last kRollbackMax steps. Not here: what is shared between requests
// (mask_cache.h), sampling, and what an engine asks of a mask (engine/token_mask.h; the two meet in
// chat/).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "grammar/mask_cache.h"

namespace dure {

class TokenMatcher {
 public:
  static constexpr int64_t kRollbackMax = 64;  // Steps that can be taken back.

  // A stop token is allowed once the text is whole, whatever its own bytes; after it nothing is.
  TokenMatcher(std::shared_ptr<MaskCache> cache, std::vector<int32_t> stop_tokens);

  // Bit i of word i/64: token i may come next. Valid until the next call of anything here. Throws
  // kUnsupported where the grammar is too ambiguous (kPlacesMax).
  std::span<const uint64_t> allowed();
  // False, with nothing changed, where the token is not allowed.
  [[nodiscard]] bool accept(int32_t token);
  // Takes the last `count` tokens back. Checked: at most those accepted, at most kRollbackMax.
  void rollback(int64_t count);
  int64_t rollback_max() const { return static_cast<int64_t>(steps_.size()) - 1; }

  bool complete() const { return now().places.complete || now().stopped; }  // may end here
  // Nothing but a stop token can follow.
  bool finished() const {
    return now().stopped || (now().places.complete && now().places.all.empty());
  }
  int64_t token_count() const { return token_count_; }

 private:
  struct Step {
    Places places;
    bool stopped = false;
  };
  const Step& now() const { return steps_.back(); }
  bool is_stop(int32_t token) const;
  void take(Step step);

  std::shared_ptr<MaskCache> cache_;
  std::vector<int32_t> stop_tokens_;
  StackArena stacks_;
  Walker walker_;
  std::deque<Step> steps_;  // the newest last
  std::vector<uint64_t> mask_;
  bool mask_is_current_ = false;
  int64_t token_count_ = 0;
};

}  // namespace dure
