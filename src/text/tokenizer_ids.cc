// The library's numbering of added tokens, after the last added one or the model's.
#include "text/tokenizer_ids.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "text/nfc.h"

namespace dure {
namespace {

// The id that the `tokenizers` library gives a new token: after the last added one, or after the
// model's, whichever is more.
int32_t next_added_id(const TokenizerParts& parts) {
  int64_t next = parts.model_token_count;
  for (const AddedToken& token : parts.added) next = std::max<int64_t>(next, token.id + 1);
  return static_cast<int32_t>(next);
}

}  // namespace

void add_added(TokenizerParts& parts, AddedToken& token, std::string_view where) {
  const std::optional<int32_t> known = parts.vocab.find(token.content);
  token.id = known ? *known : next_added_id(parts);
  if (!known) {
    // The library keeps, and decodes to, the normal form of a token that it looks for in normalised
    // text.
    const std::string normal =
        token.normalized && parts.nfc ? to_nfc(token.content) : token.content;
    const std::string& text = parts.vocab.find(normal) ? token.content : normal;
    if (!parts.vocab.add(token.id, text)) {
      fail(
          ErrorCode::kCorrupt,
          "{}: {}: token {} would be number {}, which is {} in model.vocab: the ids of model.vocab "
          "leave a gap",
          parts.source, where, json_quote(token.content), token.id,
          json_quote(parts.vocab.text(token.id)));
    }
  }
  const auto same = std::find_if(parts.added.begin(), parts.added.end(),
                                 [&](const AddedToken& other) { return other.id == token.id; });
  if (same == parts.added.end()) {
    parts.added.push_back(token);
  } else {
    *same = token;
  }
}

void OtherIds::note(const AddedToken& token, int64_t written) {
  if (written == token.id) return;
  if (count_++ == 0)
    first_ =
        fmt::format("{} is {} there and {} here", json_quote(token.content), written, token.id);
}

void OtherIds::warn(std::string_view source, std::string_view field) const {
  if (count_ == 0) return;
  log_warn(
      "{}: {}: {} ids are out of order or leave a gap; tokens are numbered one after another, as "
      "the tokenizers library does: {}",
      source, field, count_, first_);
}

}  // namespace dure
