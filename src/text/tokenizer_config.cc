// tokenizer_config.json: added tokens that stand only there, and the roles of special tokens. What
// the format means: docs/tokenizer.md.
#include <algorithm>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_ids.h"

namespace dure {
namespace {

AddedToken config_token(const Json& value, const std::string& where) {
  AddedToken token{.normalized = false, .special = true};
  if (!value.is_object()) {
    token.content = value.as_string(where);
    return token;
  }
  const auto flag = [&](const char* key, bool otherwise) {
    const Json* found = value.find(key);
    return found == nullptr || found->is_null() ? otherwise : found->as_bool(where + "." + key);
  };
  const Json* content = value.find("content");
  if (content == nullptr) fail(ErrorCode::kCorrupt, "{}: 'content' is missing", where);
  token.content = content->as_string(where + ".content");
  token.special = flag("special", false);
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

// By number; an id that already means another token is only said, as in tokenizer.json.
void add_decoder_tokens(TokenizerParts& parts, const Json& decoder, const std::string& source) {
  std::vector<std::pair<int64_t, AddedToken>> tokens;
  for (const auto& [key, value] : decoder.as_object(source + ": added_tokens_decoder")) {
    const std::string where = fmt::format("{}: added_tokens_decoder.{}", source, key);
    if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos)
      fail(ErrorCode::kCorrupt, "{}: the key should be a token's id", where);
    tokens.emplace_back(std::stoll(key), config_token(value, where));
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  OtherIds others;
  for (auto& [id, token] : tokens) {
    if (token.content.empty()) continue;
    add_added(parts, token, "added_tokens_decoder");
    others.note(token, id);
  }
  others.warn(source, "added_tokens_decoder");
}

// A special token that needs to be there; one that is keeps its flags.
void add_special(TokenizerParts& parts, AddedToken token, std::string_view where) {
  token.special = true;
  const bool there =
      std::any_of(parts.added.begin(), parts.added.end(),
                  [&](const AddedToken& other) { return other.content == token.content; });
  if (!there && !token.content.empty()) add_added(parts, token, where);
}

const Json* present(const Json& config, const char* key) {
  const Json* value = config.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

// Special tokens beyond those with a role: a list, or an object of names.
void add_extra_tokens(TokenizerParts& parts, const Json& config, const std::string& source) {
  for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
    const Json* value = present(config, key);
    if (value == nullptr) continue;
    const std::string where = source + ": " + key;
    if (value->is_object()) {
      for (const auto& [name, token] : value->as_object(where))
        add_special(parts, config_token(token, where + "." + name), key);
    } else {
      for (const Json& token : value->as_array(where))
        add_special(parts, config_token(token, where), key);
    }
  }
}

}  // namespace

void read_tokenizer_config(TokenizerParts& parts, const Json& config, std::string_view source) {
  const std::string where(source);
  config.as_object(source);
  if (const Json* decoder = present(config, "added_tokens_decoder"))
    add_decoder_tokens(parts, *decoder, where);
  const auto role = [&](const char* key) -> std::string {
    const Json* value = present(config, key);
    if (value == nullptr) return "";
    AddedToken token = config_token(*value, where + ": " + key);
    add_special(parts, token, key);
    return token.content;
  };
  parts.roles.bos = role("bos_token");
  parts.roles.eos = role("eos_token");
  parts.roles.unk = role("unk_token");
  role("sep_token");
  parts.roles.pad = role("pad_token");
  role("cls_token");
  role("mask_token");
  add_extra_tokens(parts, config, where);
  parts.config = config;
}

}  // namespace dure
