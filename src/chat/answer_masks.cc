// Grammars are made under the lock: requests of one new form make it once, at the price that others
// wait the few milliseconds.
#include "chat/answer_masks.h"

#include <algorithm>

#include "base/error.h"
#include "text/tokenizer.h"

namespace dure {

AnswerMasks::AnswerMasks(const Tokenizer& tokenizer, int64_t vocab_size,
                         std::vector<int32_t> stop_tokens)
    : vocabulary_(std::make_shared<TokenVocabulary>(tokenizer,
                                                    std::max(vocab_size, tokenizer.vocab_size()))),
      stop_tokens_(std::move(stop_tokens)) {}

AnswerMasks::Mask AnswerMasks::mask(const AnswerForm& form) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Entry& entry = find(form);
  return {std::make_shared<GrammarMask>(entry.cache, stop_tokens_), entry.not_held};
}

const AnswerMasks::Entry& AnswerMasks::find(const AnswerForm& form) {
  const std::string key = form.key();
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front();
  }
  AnswerGrammar made = answer_grammar(form);
  auto grammar = std::make_shared<const Grammar>(std::move(made.grammar));
  entries_.push_front({key, std::make_shared<MaskCache>(std::move(grammar), vocabulary_),
                       std::move(made.not_held)});
  forget_old();
  return entries_.front();
}

void AnswerMasks::forget_old() {
  int64_t bytes = 0;
  size_t kept = 0;
  for (auto i = entries_.begin(); i != entries_.end(); ++kept) {
    bytes += i->cache->cached_bytes() + i->cache->grammar().size_bytes();
    i = kept > 0 && (kept >= kFormsMax || bytes > kBytesMax) ? entries_.erase(i) : std::next(i);
  }
}

GrammarMask::GrammarMask(std::shared_ptr<MaskCache> cache, std::vector<int32_t> stop_tokens)
    : cache_(std::move(cache)), stop_tokens_(std::move(stop_tokens)) {}

std::span<const uint64_t> GrammarMask::allowed(std::span<const int32_t> generated) {
  const auto common = static_cast<size_t>(
      std::mismatch(taken_.begin(), taken_.end(), generated.begin(), generated.end()).first -
      taken_.begin());
  const auto back = static_cast<int64_t>(taken_.size() - common);
  if (matcher_ != nullptr && back <= matcher_->rollback_max()) {
    matcher_->rollback(back);
    taken_.resize(common);
  } else {
    matcher_ = std::make_unique<TokenMatcher>(cache_, stop_tokens_);
    taken_.clear();
  }
  for (size_t i = taken_.size(); i < generated.size(); ++i) {
    if (!matcher_->accept(generated[i]))
      fail(ErrorCode::kInvalidArgument, "token {} of the answer, id {}, is outside its form", i,
           generated[i]);
    taken_.push_back(generated[i]);
  }
  return matcher_->allowed();
}

}  // namespace dure
