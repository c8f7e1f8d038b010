// chat/thinking_budget.h: reasoning that ends in time: behind so many tokens only </think> may
// come, and the answer goes on.
//
// Owns where the reasoning of an answer under way ends and which tokens end it. A mask over another
// one, or over none. A character that the last token of the budget leaves open is ended first. Not
// here: who asks for a budget (server/), how masks are used (engine/token_mask.h), forms of the
// answer behind the reasoning (answer_masks.h).
#pragma once

#include <memory>
#include <vector>

#include "engine/token_mask.h"

namespace dure {

class Tokenizer;

class ThinkingBudget final : public TokenMask {
 public:
  // Of an answer that begins inside its reasoning. `tokens` 0: it ends at once. `behind` is asked
  // wherever nothing is forced; null: every token may come. `tokenizer` must outlive it.
  ThinkingBudget(const Tokenizer& tokenizer, int64_t vocab_size, int64_t tokens,
                 std::shared_ptr<TokenMask> behind);

  std::span<const uint64_t> allowed(std::span<const int32_t> generated) override;

 private:
  // Behind a token: how much of </think> the text ends with, and what of a character is missing.
  struct State {
    uint8_t matched = 0;
    uint8_t missing_bytes = 0;
    int32_t forced = -1;  // tokens of </think> that are behind the budget's end; -1: none is due
    bool closed = false;
  };
  State after(const State& before, int32_t token, int64_t count) const;
  void follow(std::span<const int32_t> generated);

  const Tokenizer& tokenizer_;
  int64_t tokens_;
  std::vector<int32_t> end_;  // the tokens of </think>
  std::shared_ptr<TokenMask> behind_;
  std::vector<int32_t> taken_;
  std::vector<State> states_;  // before the first token, and behind each
  std::vector<uint64_t> only_;
};

}  // namespace dure
