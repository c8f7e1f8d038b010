// Bytes wait until complete_utf8_prefix() is sure of them; what is no character is repaired, as
// Tokenizer::decode repairs it.
#include "text/detokenizer.h"

#include "text/unicode.h"

namespace dure {

std::string Detokenizer::push(int32_t id) {
  if (options_.skip_special && tokenizer_.is_special(id)) return {};
  pending_ += tokenizer_.token_bytes(id);
  const size_t sure = complete_utf8_prefix(pending_);
  std::string out = repair_utf8(std::string_view(pending_).substr(0, sure));
  pending_.erase(0, sure);
  return out;
}

std::string Detokenizer::flush() {
  std::string out = repair_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace dure
