// chat/answer_masks.h: the token masks of answers that must have a form: where grammars meet the
// engine.
//
// Owns a model's vocabulary as bytes and the grammars of forms asked for lately, each with what is
// known of its masks. Thread-safe. Not here: forms (grammar/answer_form.h), how masks are found
// (grammar/mask_cache.h) and used (engine/token_mask.h).
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/token_mask.h"
#include "grammar/answer_form.h"
#include "grammar/token_matcher.h"

namespace dure {

class Tokenizer;

class AnswerMasks {
 public:
  static constexpr size_t kFormsMax = 64;
  static constexpr int64_t kBytesMax = int64_t{512} << 20;  // of all forms' caches together

  // `vocab_size`: the model's, of which the tokenizer may name fewer. An answer ends with one of
  // `stop_tokens`.
  AnswerMasks(const Tokenizer& tokenizer, int64_t vocab_size, std::vector<int32_t> stop_tokens);

  struct Mask {
    std::shared_ptr<TokenMask> mask;  // for one request
    std::set<std::string> not_held;   // AnswerGrammar's
  };
  // Throws what answer_grammar() throws.
  Mask mask(const AnswerForm& form);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<MaskCache> cache;
    std::set<std::string> not_held;
  };
  const Entry& find(const AnswerForm& form);
  void forget_old();

  std::shared_ptr<const TokenVocabulary> vocabulary_;
  std::vector<int32_t> stop_tokens_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // used last, first
};

// A matcher as the engine asks: the answer so far may go on from any earlier one. Throws
// kInvalidArgument where it has a token that was not allowed.
class GrammarMask : public TokenMask {
 public:
  GrammarMask(std::shared_ptr<MaskCache> cache, std::vector<int32_t> stop_tokens);
  std::span<const uint64_t> allowed(std::span<const int32_t> generated) override;

 private:
  std::shared_ptr<MaskCache> cache_;
  std::vector<int32_t> stop_tokens_;
  std::unique_ptr<TokenMatcher> matcher_;  // From the first token on: many may wait.
  std::vector<int32_t> taken_;
};

}  // namespace dure
