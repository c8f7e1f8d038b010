// grammar/schema_values.h: whether a given value satisfies a set of schemas, and whether two
// schemas exclude each other.
//
// For the values of enum and const, which may stand beside other keywords, and for oneOf, which is
// a plain choice where its branches exclude each other. Not here: keywords (schema_facts.h),
// grammars (json_schema.h).
#pragma once

#include "grammar/char_set.h"
#include "grammar/schema_facts.h"

namespace dure {

class SchemaValues {
 public:
  explicit SchemaValues(SchemaReader& reader) : reader_(reader) {}

  bool satisfies(const Json& value, const SchemaSet& set);
  bool satisfies(const Json& value, const SchemaFacts& facts);
  // True only where no value can satisfy both; false where that is not seen.
  bool exclude(const SchemaSet& a, const SchemaSet& b);

 private:
  bool satisfies_choice(const Json& value, const SchemaChoice& choice);
  bool satisfies_array(const Json& value, const SchemaFacts& facts);
  bool satisfies_object(const Json& value, const SchemaFacts& facts);
  bool satisfies_name(const std::string& name, const SchemaFacts& facts);
  bool members_exclude(const SchemaFacts& a, const SchemaFacts& b);
  bool all_fail(const std::vector<Json>& values, const SchemaFacts& facts);

  SchemaReader& reader_;
  int depth_ = 0;
};

uint8_t schema_type_of(const Json& value);

// The contents of the strings that patterns, formats and lengths allow, as `encoding` spells them;
// nothing where every string is.
std::optional<ByteDfa> text_demands(const SchemaFacts& facts, TextEncoding encoding);
// A number's demands as one automaton. `types`: kTypeInteger, or kTypeFraction too.
ByteDfa number_demands(const SchemaFacts& facts, uint8_t types);
// What member `name` must satisfy; nothing where it is not allowed at all.
std::optional<SchemaSet> member_demands(const SchemaFacts& facts, const std::string& name);
// Whether `pattern` is found in `name`.
bool name_matches(const std::string& pattern, const std::string& name);

}  // namespace dure
