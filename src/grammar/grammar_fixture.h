// grammar/grammar_fixture.h: for tests: small vocabularies, constraints of one line, and random
// walks through masks.
//
// Not here: what is asserted (the tests beside it).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "grammar/json_schema.h"
#include "grammar/pattern.h"
#include "grammar/token_matcher.h"

namespace dure {

// All bytes, then tokens of several characters that cross the borders of JSON in many ways.
struct SmallVocabulary {
  std::vector<std::string> texts;
  int32_t stop = 0;  // A special token.
  std::shared_ptr<const TokenVocabulary> tokens;
};
inline SmallVocabulary small_vocabulary(Rng& rng, int64_t merged_count) {
  static constexpr std::string_view kParts[] = {
      "\"",  "{",   "}",  "[",  "]", ":",  ",",    " ",     "\n",   "a",
      "b",   "x",   "1",  "0",  "-", ".",  "true", "null",  "\": ", "\", \"",
      "\"}", "\"]", "}]", "한", "é", "\\", "\\n",  "\\u00", "name", "e"};
  SmallVocabulary out;
  for (int byte = 0; byte < 256; ++byte) out.texts.emplace_back(1, static_cast<char>(byte));
  for (int64_t i = 0; i < merged_count; ++i) {
    std::string text;
    for (int64_t n = rng.between(2, 4); n > 0; --n)
      text += kParts[rng.below(static_cast<int64_t>(std::size(kParts)))];
    if (rng.below(4) == 0) text.pop_back();  // Perhaps in the middle of a character.
    if (!text.empty()) out.texts.push_back(text);
  }
  out.stop = static_cast<int32_t>(out.texts.size());
  out.texts.push_back(std::string(1, kSpecialMark) + "<stop>");
  std::vector<TokenBytes> tokens;
  for (size_t i = 0; i < out.texts.size(); ++i)
    tokens.push_back({out.texts[i], static_cast<int32_t>(i)});
  out.tokens =
      std::make_shared<TokenVocabulary>(std::move(tokens), static_cast<int64_t>(out.texts.size()));
  return out;
}

inline Grammar schema_grammar(std::string_view schema, JsonSpacing spacing = JsonSpacing::kFlexible,
                              const JsonSchemaOptions& options = {}) {
  GrammarBuilder builder;
  JsonGrammar json(builder, spacing);
  return builder.build(add_json_schema(json, parse_json(schema, "schema"), options).rule);
}
inline Grammar pattern_grammar(std::string_view pattern) {
  GrammarBuilder builder;
  return builder.build(builder.pattern(pattern));
}

inline std::vector<int32_t> allowed_ids(TokenMatcher& matcher) {
  std::vector<int32_t> out;
  const auto mask = matcher.allowed();
  for (size_t i = 0; i < mask.size() * 64; ++i)
    if ((mask[i / 64] >> (i % 64) & 1) != 0) out.push_back(static_cast<int32_t>(i));
  return out;
}

// Whether the grammar takes `text` byte by byte, whole.
inline bool matches(const Grammar& grammar, std::string_view text) {
  StackArena stacks;
  Walker walker(grammar, stacks);
  Places at = walker.start(), next;
  for (const char c : text) {
    walker.step(at, static_cast<uint8_t>(c), next);
    std::swap(at, next);
  }
  return at.complete;
}

}  // namespace dure
