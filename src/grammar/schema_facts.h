// grammar/schema_facts.h: what a set of JSON Schemas that must all hold demands, keyword by
// keyword.
//
// Owns the keywords: which are read, which are annotations, which are refused by name; references
// and `allOf` are followed. `anyOf` and `oneOf` stay open choices. Not here: grammars
// (json_schema.h), whether a value satisfies (schema_values.h).
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "grammar/json_numbers.h"

namespace dure {

// A schema in its document, and where: "#/properties/a".
struct SchemaRef {
  const Json* node = nullptr;
  std::string at;
  // Schemas of the same place that led here: one of them met again is a loop.
  std::vector<const Json*> above;
};

// Schemas that must all hold. `taken` are lists of anyOf or oneOf one of whose branches is among
// them already.
struct SchemaSet {
  std::vector<SchemaRef> all;
  std::set<const Json*> taken;
};

enum SchemaTypes : uint8_t {
  kTypeNull = 1,
  kTypeBoolean = 2,
  kTypeInteger = 4,
  kTypeFraction = 8,  // "number" is integer and fraction
  kTypeString = 16,
  kTypeArray = 32,
  kTypeObject = 64,
  kTypeAll = 127,
};

struct ArrayShape {
  std::vector<SchemaRef> prefix;
  std::optional<SchemaRef> rest;
};

struct ObjectShape {
  std::vector<std::pair<std::string, SchemaRef>> properties, patterns;
  std::optional<SchemaRef> additional;
  bool lists = false;  // properties or patternProperties are there, be they empty
  const SchemaRef* find(std::string_view name) const;
};

struct SchemaChoice {
  const Json* list = nullptr;
  std::vector<SchemaRef> branches;
  bool exactly_one = false;
  std::string at;
};

struct SchemaFacts {
  std::string at;      // of the first schema, for messages
  bool never = false;  // `false` is among them
  uint8_t types = kTypeAll;
  std::optional<std::vector<Json>> values;  // enum, const
  std::optional<NumberBound> low, high;
  std::vector<Decimal> multiples;
  int64_t length_min = 0, items_min = 0, members_min = 0;
  std::optional<int64_t> length_max, items_max, members_max;
  std::vector<std::string> patterns, formats;
  std::vector<ArrayShape> arrays;
  std::vector<ObjectShape> objects;
  std::vector<std::string> required;
  std::vector<SchemaRef> member_names;  // propertyNames
  std::vector<SchemaChoice> choices;
};

// Reads schemas of one document.
class SchemaReader {
 public:
  explicit SchemaReader(const Json& document) : document_(document) {}

  // Throws kInvalidArgument (a keyword's value is of the wrong kind), kUnsupported (a keyword, or a
  // reference), both with the place.
  SchemaFacts read(const SchemaSet& set);
  // Keywords that are neither known nor refused, and formats that are not known: ignored.
  const std::set<std::string>& ignored() const { return ignored_; }

 private:
  friend class KeywordReader;
  SchemaRef target_of(const std::string& reference, const std::string& at) const;

  const Json& document_;
  std::set<std::string> ignored_;
};

}  // namespace dure
