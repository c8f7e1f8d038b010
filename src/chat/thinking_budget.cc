// A search for </think> over the bytes of the tokens, its state kept behind every token: the engine
// leads a mask back where drafts were thrown away.
#include "chat/thinking_budget.h"

#include <algorithm>
#include <string_view>

#include "text/tokenizer.h"

namespace dure {
namespace {

constexpr std::string_view kEnd = "</think>";
// A model that writes halves of characters for ever is cut all the same.
constexpr int64_t kOpenTokensMax = 8;

// No proper end of </think> begins it but '<' itself.
uint8_t match(uint8_t matched, char c) {
  if (c == kEnd[matched]) return static_cast<uint8_t>(matched + 1);
  return c == kEnd[0] ? 1 : 0;
}

uint8_t missing_after(uint8_t missing, char byte) {
  const auto c = static_cast<unsigned char>(byte);
  if (c >= 0xF0) return 3;
  if (c >= 0xE0) return 2;
  if (c >= 0xC0) return 1;
  return c >= 0x80 && missing > 0 ? static_cast<uint8_t>(missing - 1) : 0;
}

}  // namespace

ThinkingBudget::ThinkingBudget(const Tokenizer& tokenizer, int64_t vocab_size, int64_t tokens,
                               std::shared_ptr<TokenMask> behind)
    : tokenizer_(tokenizer),
      tokens_(tokens),
      end_(tokenizer.encode(kEnd, {.add_special_tokens = false})),
      behind_(std::move(behind)),
      states_(1, State{.forced = tokens == 0 ? 0 : -1}),
      only_(static_cast<size_t>((std::max(vocab_size, tokenizer.vocab_size()) + 63) / 64)) {}

ThinkingBudget::State ThinkingBudget::after(const State& before, int32_t token,
                                            int64_t count) const {
  State out = before;
  if (out.closed) return out;
  for (const char c : tokenizer_.token_bytes(token)) {
    out.matched = match(out.matched, c);
    out.missing_bytes = missing_after(out.missing_bytes, c);
    if (out.matched < kEnd.size()) continue;
    out.closed = true;
    return out;
  }
  if (out.forced >= 0) {
    ++out.forced;
  } else if (count >= tokens_ && (out.missing_bytes == 0 || count >= tokens_ + kOpenTokensMax)) {
    out.forced = 0;
  }
  return out;
}

void ThinkingBudget::follow(std::span<const int32_t> generated) {
  const auto common =
      std::mismatch(taken_.begin(), taken_.end(), generated.begin(), generated.end()).first -
      taken_.begin();
  taken_.resize(static_cast<size_t>(common));
  states_.resize(taken_.size() + 1);
  while (taken_.size() < generated.size()) {
    taken_.push_back(generated[taken_.size()]);
    states_.push_back(after(states_.back(), taken_.back(), std::ssize(taken_)));
  }
}

std::span<const uint64_t> ThinkingBudget::allowed(std::span<const int32_t> generated) {
  follow(generated);
  const State& now = states_.back();
  if (now.closed || now.forced < 0 || now.forced >= std::ssize(end_))
    return behind_ != nullptr ? behind_->allowed(generated) : std::span<const uint64_t>();
  const auto id = static_cast<size_t>(end_[static_cast<size_t>(now.forced)]);
  std::fill(only_.begin(), only_.end(), 0);
  only_[id / 64] = uint64_t{1} << (id % 64);
  return only_;
}

}  // namespace dure
