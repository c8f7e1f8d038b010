// A token is walked byte by byte; the mask is found when it is first asked for.
#include "grammar/token_matcher.h"

#include <algorithm>

#include "base/check.h"

namespace dure {

TokenMatcher::TokenMatcher(std::shared_ptr<MaskCache> cache, std::vector<int32_t> stop_tokens)
    : cache_(std::move(cache)),
      stop_tokens_(std::move(stop_tokens)),
      walker_(cache_->grammar(), stacks_),
      mask_(static_cast<size_t>(cache_->vocabulary().mask_words())) {
  std::erase_if(stop_tokens_,
                [&](int32_t id) { return id < 0 || id >= cache_->vocabulary().size(); });
  steps_.push_back({walker_.start()});
}

bool TokenMatcher::is_stop(int32_t token) const {
  return std::find(stop_tokens_.begin(), stop_tokens_.end(), token) != stop_tokens_.end();
}

std::span<const uint64_t> TokenMatcher::allowed() {
  if (mask_is_current_) return mask_;
  std::fill(mask_.begin(), mask_.end(), 0);
  if (!now().stopped) cache_->fill(now().places, stacks_, mask_);
  for (const int32_t id : stop_tokens_) {
    const auto i = static_cast<size_t>(id);
    const uint64_t bit = uint64_t{1} << (i % 64);
    mask_[i / 64] &= ~bit;
    if (now().places.complete && !now().stopped) mask_[i / 64] |= bit;
  }
  mask_is_current_ = true;
  return mask_;
}

bool TokenMatcher::accept(int32_t token) {
  if (token < 0 || token >= cache_->vocabulary().size() || now().stopped) return false;
  if (is_stop(token)) {
    if (!now().places.complete) return false;
    take({.stopped = true});
    return true;
  }
  const std::string_view bytes = cache_->vocabulary().bytes(token);
  if (bytes.empty()) return false;
  Places from = now().places, to;
  for (const char c : bytes) {
    walker_.step(from, static_cast<uint8_t>(c), to);
    if (to.dead()) return false;
    std::swap(from, to);
  }
  take({.places = std::move(from)});
  return true;
}

void TokenMatcher::take(Step step) {
  steps_.push_back(std::move(step));
  if (static_cast<int64_t>(steps_.size()) > kRollbackMax + 1) steps_.pop_front();
  ++token_count_;
  mask_is_current_ = false;
}

void TokenMatcher::rollback(int64_t count) {
  DURE_CHECK(count >= 0 && count < static_cast<int64_t>(steps_.size()), "count {}", count);
  steps_.resize(steps_.size() - static_cast<size_t>(count));
  token_count_ -= count;
  if (count > 0) mask_is_current_ = false;
}

}  // namespace dure
