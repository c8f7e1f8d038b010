// grammar/json_grammar.h: the rules of JSON itself, in a GrammarBuilder: values, spaces between
// them, and given values as they are written.
//
// Not here: schemas (json_schema.h), bounded numbers (json_numbers.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "grammar/char_set.h"
#include "grammar/grammar.h"

namespace dure {

// White space between the tokens of JSON. Never endless: a model that may write line breaks for
// ever does.
enum class JsonSpacing : uint8_t {
  kFlexible,  // at each place: nothing, a space, or a line break and up to 64 spaces or tabs
  kCompact,   // none
};

class JsonGrammar {
 public:
  // No string holds one of the texts `never`, as it stands: free strings escape its first
  // character, which all of them share.
  JsonGrammar(GrammarBuilder& builder, JsonSpacing spacing, std::vector<std::string> never = {});
  GrammarBuilder& builder() { return builder_; }

  RuleId value();  // any JSON value
  RuleId object();
  RuleId array();
  RuleId string();
  RuleId number();
  RuleId boolean() { return builder_.pattern("true|false"); }
  RuleId null() { return builder_.literal("null"); }

  // Strings of `min` to `max` characters, escaped at will.
  RuleId string_of(int64_t min, std::optional<int64_t> max);
  // A string whose contents are `contents`, already as a JSON string spells them.
  RuleId quoted(const ByteDfa& contents);
  RuleId key(std::string_view name);  // "name"
  RuleId given(const Json& value);    // that value, its members in that order

  RuleId comma() { return spaced(",", /*before=*/true, /*after=*/true); }
  RuleId colon() { return spaced(":", true, true); }
  RuleId open(char bracket) { return spaced({&bracket, 1}, false, true); }
  RuleId close(char bracket) { return spaced({&bracket, 1}, true, false); }

  // open (item (comma item)*)? close
  RuleId listed(char open_bracket, RuleId item, char close_bracket);

 private:
  RuleId spaced(std::string_view text, bool before, bool after);
  RuleId string_end(int64_t max);
  RuleId chars(const char* how, int64_t count);

  GrammarBuilder& builder_;
  char escaped() const { return never_.empty() ? '"' : never_[0][0]; }

  JsonSpacing spacing_;
  std::vector<std::string> never_;
  std::optional<RuleId> value_;
  std::map<std::pair<char, int64_t>, RuleId> chars_;
};

// Contents of JSON strings: any text in its one spelling (char_set.h).
const ByteDfa& any_json_text();

// Texts that hold `part`.
ByteDfa holding(std::string_view part);

}  // namespace dure
