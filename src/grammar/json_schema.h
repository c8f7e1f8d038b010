// grammar/json_schema.h: a JSON Schema (draft 2020-12) as a grammar: every text it matches is JSON
// that satisfies the schema.
//
// Members are written in the order of `properties`, then further ones. What a schema allows and the
// grammar does not write (other orders, other spellings of a string under a pattern, exponents
// under bounds) is listed in docs/constrained-decoding.md; nothing is matched that the schema
// forbids. A keyword that cannot be held is refused by name and place. Not here: keywords
// (schema_facts.h).
#pragma once

#include <set>
#include <string>

#include "base/json.h"
#include "grammar/json_grammar.h"

namespace dure {

enum class UnlistedMembers : uint8_t {
  kOnlyIfAsked,  // An object with `properties` and no `additionalProperties` has those alone.
  kAsStandard,   // It may have others, of any value.
};

struct JsonSchemaOptions {
  UnlistedMembers unlisted = UnlistedMembers::kOnlyIfAsked;
};

struct JsonSchemaRule {
  RuleId rule = 0;
  std::set<std::string> ignored;  // keywords and formats that are not known
};

// Throws kInvalidArgument and kUnsupported naming keyword and place ("#/properties/a/not").
JsonSchemaRule add_json_schema(JsonGrammar& json, const Json& schema,
                               const JsonSchemaOptions& options = {});

}  // namespace dure
