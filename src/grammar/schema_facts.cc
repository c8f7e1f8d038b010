// One table of keywords to functions. A schema met twice in one set is read once; a reference that
// leads back to itself is refused.
#include "grammar/schema_facts.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "grammar/string_formats.h"

namespace dure {
namespace {

const std::unordered_set<std::string_view>& annotations() {
  static const std::unordered_set<std::string_view> names = {
      "title",         "description",  "default",         "examples",
      "example",       "$schema",      "$comment",        "deprecated",
      "readOnly",      "writeOnly",    "$defs",           "definitions",
      "$anchor",       "$vocabulary",  "contentEncoding", "contentMediaType",
      "contentSchema", "discriminator"};
  return names;
}

const std::unordered_set<std::string_view>& refused() {
  static const std::unordered_set<std::string_view> names = {"not",
                                                             "if",
                                                             "then",
                                                             "else",
                                                             "contains",
                                                             "minContains",
                                                             "maxContains",
                                                             "dependentRequired",
                                                             "dependentSchemas",
                                                             "dependencies",
                                                             "unevaluatedProperties",
                                                             "unevaluatedItems",
                                                             "$dynamicRef",
                                                             "$dynamicAnchor",
                                                             "$recursiveRef",
                                                             "$recursiveAnchor",
                                                             "extends",
                                                             "disallow"};
  return names;
}

// A JSON pointer's step in a reference: ~1, ~0 and %XX undone.
std::string unescaped(std::string_view step) {
  std::string out;
  for (size_t i = 0; i < step.size(); ++i) {
    if (step[i] == '%' && i + 2 < step.size() && std::isxdigit(static_cast<uint8_t>(step[i + 1])) &&
        std::isxdigit(static_cast<uint8_t>(step[i + 2]))) {
      out += static_cast<char>(std::stoi(std::string(step.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += step[i];
    }
  }
  for (const auto& [from, to] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}}) {
    for (size_t i = 0; (i = out.find(from, i)) != std::string::npos; ++i) out.replace(i, 2, to);
  }
  return out;
}

std::string escaped(std::string_view step) {
  std::string out;
  for (const char c : step) {
    if (c == '~') out += "~0";
    if (c == '/') out += "~1";
    if (c != '~' && c != '/') out += c;
  }
  return out;
}

// Equality of JSON Schema: 1 and 1.0 are one number, members have no order.
bool same_value(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  if (a.kind() != b.kind() || a.size() != b.size()) return false;
  if (a.is_array()) {
    for (size_t i = 0; i < a.size(); ++i)
      if (!same_value(a.at(i), b.at(i))) return false;
    return true;
  }
  if (!a.is_object()) return a == b;
  return std::all_of(a.as_object().begin(), a.as_object().end(), [&](const Json::Member& m) {
    const Json* other = b.find(m.first);
    return other != nullptr && same_value(m.second, *other);
  });
}

}  // namespace

const SchemaRef* ObjectShape::find(std::string_view name) const {
  for (const auto& [key, schema] : properties)
    if (key == name) return &schema;
  return nullptr;
}

// Adds the keywords of one schema, and of those it refers to, to the facts.
class KeywordReader {
 public:
  KeywordReader(SchemaReader& reader, const SchemaSet& set, SchemaFacts& facts)
      : reader_(reader), set_(set), facts_(facts) {}

  using Handler = void (KeywordReader::*)(const Json& value, const std::string& at);
  static const std::unordered_map<std::string_view, Handler>& handlers();

  void read_all() {
    for (const SchemaRef& schema : set_.all) {
      open_ = schema.above;
      read(schema);
    }
  }

 private:
  void read(const SchemaRef& schema) {
    if (std::find(open_.begin(), open_.end(), schema.node) != open_.end())
      fail(ErrorCode::kUnsupported, "{}: the schema refers to itself without anything between",
           schema.at);
    if (!seen_.insert(schema.node).second) return;
    if (schema.node->is_bool()) {
      facts_.never |= !schema.node->as_bool();
      return;
    }
    if (!schema.node->is_object())
      fail(ErrorCode::kInvalidArgument, "{}: a schema is an object or a boolean, not {}", schema.at,
           schema.node->kind_name());
    open_.push_back(schema.node);
    for (const auto& [name, value] : schema.node->as_object()) keyword(schema, name, value);
    read_array(schema);
    read_object(schema);
    open_.pop_back();
  }

  void keyword(const SchemaRef& schema, const std::string& name, const Json& value) {
    const std::string at = schema.at + "/" + escaped(name);
    if (const auto found = handlers().find(name); found != handlers().end())
      return (this->*found->second)(value, at);
    if (annotations().contains(name)) return;
    if (name == "$id" && schema.node == &reader_.document_) return;
    if (name == "$id" || refused().contains(name))
      fail(ErrorCode::kUnsupported, "{}: the keyword '{}' is not supported", at, name);
    reader_.ignored_.insert(name);
  }
  [[noreturn]] static void wrong(const std::string& at, std::string_view what, const Json& value) {
    fail(ErrorCode::kInvalidArgument, "{}: {}, not {}", at, what, value.dump());
  }

  void reference(const Json& value, const std::string& at) {
    read(reader_.target_of(text(value, at), at));
  }
  void all_of(const Json& value, const std::string& at) {
    for (const SchemaRef& part : list(value, at)) read(part);
  }
  void any_of(const Json& value, const std::string& at) { choice(value, at, false); }
  void one_of(const Json& value, const std::string& at) { choice(value, at, true); }
  void choice(const Json& value, const std::string& at, bool exactly_one) {
    if (set_.taken.contains(&value)) return;
    facts_.choices.push_back({&value, list(value, at), exactly_one, at});
    for (SchemaRef& branch : facts_.choices.back().branches) branch.above = open_;
  }
  static std::vector<SchemaRef> list(const Json& value, const std::string& at) {
    if (!value.is_array() || value.size() == 0) wrong(at, "a list of schemas is asked for", value);
    std::vector<SchemaRef> out;
    for (size_t i = 0; i < value.size(); ++i)
      out.push_back({&value.at(i), fmt::format("{}/{}", at, i)});
    return out;
  }

  static uint8_t type_bits(const Json& name, const std::string& at) {
    static const std::pair<const char*, int> kNames[] = {
        {"null", kTypeNull},     {"boolean", kTypeBoolean},
        {"string", kTypeString}, {"integer", kTypeInteger},
        {"array", kTypeArray},   {"number", kTypeInteger | kTypeFraction},
        {"object", kTypeObject}};
    for (const auto& [known, bits] : kNames)
      if (name.is_string() && name.as_string() == known) return static_cast<uint8_t>(bits);
    fail(ErrorCode::kInvalidArgument, "{}: {} is no type of JSON Schema", at, name.dump());
  }
  void type(const Json& value, const std::string& at) {
    uint8_t bits = 0;
    if (value.is_array()) {
      for (const Json& name : value.as_array()) bits |= type_bits(name, at);
    } else {
      bits = type_bits(value, at);
    }
    facts_.types &= bits;
  }
  void enumeration(const Json& value, const std::string& at) {
    if (!value.is_array()) wrong(at, "a list of values is asked for", value);
    values(value.as_array());
  }
  void constant(const Json& value, const std::string&) { values({value}); }
  void values(const Json::Array& allowed) {
    if (!facts_.values) {
      facts_.values = allowed;
      return;
    }
    std::erase_if(*facts_.values, [&](const Json& v) {
      return std::none_of(allowed.begin(), allowed.end(),
                          [&](const Json& other) { return same_value(v, other); });
    });
  }

  static Decimal decimal(const Json& value, const std::string& at) {
    if (!value.is_number()) wrong(at, "a number is asked for", value);
    return decimal_of(value.dump());
  }
  void low(const Json& value, const std::string& at) { raise({decimal(value, at), false}); }
  void low_open(const Json& value, const std::string& at) {
    if (value.is_bool()) return draft4(value, at);
    raise({decimal(value, at), true});
  }
  void high(const Json& value, const std::string& at) { lower({decimal(value, at), false}); }
  void high_open(const Json& value, const std::string& at) {
    if (value.is_bool()) return draft4(value, at);
    lower({decimal(value, at), true});
  }
  static void draft4(const Json& value, const std::string& at) {
    if (value.as_bool())
      fail(ErrorCode::kUnsupported, "{}: true, as drafts before 6 have it; give the bound itself",
           at);
  }
  void raise(NumberBound bound) {
    const int order = facts_.low ? compare(bound.value, facts_.low->value) : 1;
    if (order > 0 || (order == 0 && bound.exclusive)) facts_.low = bound;
  }
  void lower(NumberBound bound) {
    const int order = facts_.high ? compare(bound.value, facts_.high->value) : -1;
    if (order < 0 || (order == 0 && bound.exclusive)) facts_.high = bound;
  }
  void multiple_of(const Json& value, const std::string& at) {
    const Decimal step = decimal(value, at);
    if (step.negative || step.is_zero()) wrong(at, "a number above 0 is asked for", value);
    facts_.multiples.push_back(step);
  }

  static std::string text(const Json& value, const std::string& at) {
    if (!value.is_string()) wrong(at, "a string is asked for", value);
    return value.as_string();
  }
  void pattern(const Json& value, const std::string& at) {
    facts_.patterns.push_back(text(value, at));
  }
  void format(const Json& value, const std::string& at) {
    const std::string name = text(value, at);
    if (is_unwritten_format(name))
      fail(ErrorCode::kUnsupported, "{}: the format '{}' is not supported; known are {}", at, name,
           known_formats());
    if (format_pattern(name)) {
      facts_.formats.push_back(name);
    } else {
      reader_.ignored_.insert("format " + name);
    }
  }

  static int64_t count(const Json& value, const std::string& at) {
    const bool whole = value.is_number() && std::floor(value.as_double()) == value.as_double();
    if (!whole || value.as_double() < 0) wrong(at, "a count is asked for", value);
    return static_cast<int64_t>(std::min(value.as_double(), 1e15));
  }
  static void at_least(int64_t& limit, int64_t value) { limit = std::max(limit, value); }
  static void at_most(std::optional<int64_t>& limit, int64_t value) {
    limit = std::min(limit.value_or(value), value);
  }
  void length_min(const Json& v, const std::string& at) {
    at_least(facts_.length_min, count(v, at));
  }
  void length_max(const Json& v, const std::string& at) {
    at_most(facts_.length_max, count(v, at));
  }
  void items_min(const Json& v, const std::string& at) { at_least(facts_.items_min, count(v, at)); }
  void items_max(const Json& v, const std::string& at) { at_most(facts_.items_max, count(v, at)); }
  void members_min(const Json& v, const std::string& at) {
    at_least(facts_.members_min, count(v, at));
  }
  void members_max(const Json& v, const std::string& at) {
    at_most(facts_.members_max, count(v, at));
  }

  void unique(const Json& value, const std::string& at) {
    if (value.is_bool() && !value.as_bool()) return;
    fail(ErrorCode::kUnsupported, "{}: the keyword 'uniqueItems' is not supported", at);
  }
  void required(const Json& value, const std::string& at) {
    if (!value.is_array()) wrong(at, "a list of names is asked for", value);
    for (const Json& name : value.as_array()) {
      const std::string member = text(name, at);
      auto& all = facts_.required;
      if (std::find(all.begin(), all.end(), member) == all.end()) all.push_back(member);
    }
  }
  void member_names(const Json& value, const std::string& at) {
    facts_.member_names.push_back({&value, at});
  }
  void read_later(const Json&, const std::string&) {}

  // Keywords that mean something only beside one another.
  void read_array(const SchemaRef& schema) {
    ArrayShape shape;
    const Json* prefix = schema.node->find("prefixItems");
    const Json* items = schema.node->find("items");
    const bool old = items != nullptr && items->is_array();  // Before draft 2020-12.
    if (old) prefix = items;
    const char* const prefix_name = old ? "/items" : "/prefixItems";
    if (prefix != nullptr && prefix->is_array()) {
      for (size_t i = 0; i < prefix->size(); ++i)
        shape.prefix.push_back({&prefix->at(i), fmt::format("{}{}/{}", schema.at, prefix_name, i)});
    } else if (prefix != nullptr) {
      wrong(schema.at + prefix_name, "a list of schemas is asked for", *prefix);
    }
    const Json* rest = old ? schema.node->find("additionalItems") : items;
    if (rest != nullptr)
      shape.rest = SchemaRef{rest, schema.at + (old ? "/additionalItems" : "/items")};
    if (!shape.prefix.empty() || shape.rest) facts_.arrays.push_back(std::move(shape));
  }
  void read_object(const SchemaRef& schema) {
    ObjectShape shape;
    members(schema, "properties", shape.properties);
    members(schema, "patternProperties", shape.patterns);
    if (const Json* rest = schema.node->find("additionalProperties"); rest != nullptr)
      shape.additional = SchemaRef{rest, schema.at + "/additionalProperties"};
    shape.lists = schema.node->contains("properties") || schema.node->contains("patternProperties");
    if (shape.lists || shape.additional) facts_.objects.push_back(std::move(shape));
  }
  static void members(const SchemaRef& schema, const char* keyword,
                      std::vector<std::pair<std::string, SchemaRef>>& out) {
    const Json* all = schema.node->find(keyword);
    if (all == nullptr) return;
    const std::string at = schema.at + "/" + keyword;
    if (!all->is_object()) wrong(at, "an object of schemas is asked for", *all);
    for (const auto& [name, member] : all->as_object())
      out.emplace_back(name, SchemaRef{&member, at + "/" + escaped(name)});
  }

  SchemaReader& reader_;
  const SchemaSet& set_;
  SchemaFacts& facts_;
  std::unordered_set<const Json*> seen_;
  std::vector<const Json*> open_;
};

const std::unordered_map<std::string_view, KeywordReader::Handler>& KeywordReader::handlers() {
  using K = KeywordReader;
  static const std::unordered_map<std::string_view, Handler> table = {
      {"$ref", &K::reference},
      {"allOf", &K::all_of},
      {"anyOf", &K::any_of},
      {"oneOf", &K::one_of},
      {"type", &K::type},
      {"enum", &K::enumeration},
      {"const", &K::constant},
      {"minimum", &K::low},
      {"exclusiveMinimum", &K::low_open},
      {"maximum", &K::high},
      {"exclusiveMaximum", &K::high_open},
      {"multipleOf", &K::multiple_of},
      {"minLength", &K::length_min},
      {"maxLength", &K::length_max},
      {"pattern", &K::pattern},
      {"format", &K::format},
      {"minItems", &K::items_min},
      {"maxItems", &K::items_max},
      {"uniqueItems", &K::unique},
      {"minProperties", &K::members_min},
      {"maxProperties", &K::members_max},
      {"required", &K::required},
      {"propertyNames", &K::member_names},
      {"prefixItems", &K::read_later},
      {"items", &K::read_later},
      {"additionalItems", &K::read_later},
      {"properties", &K::read_later},
      {"patternProperties", &K::read_later},
      {"additionalProperties", &K::read_later},
  };
  return table;
}

SchemaFacts SchemaReader::read(const SchemaSet& set) {
  SchemaFacts facts;
  facts.at = set.all.empty() ? "#" : set.all[0].at;
  KeywordReader keywords(*this, set, facts);
  keywords.read_all();
  return facts;
}

SchemaRef SchemaReader::target_of(const std::string& reference, const std::string& at) const {
  if (!reference.starts_with("#") || (reference.size() > 1 && reference[1] != '/'))
    fail(ErrorCode::kUnsupported, "{}: '{}' is not supported: references are '#' or '#/...'", at,
         reference);
  const Json* node = &document_;
  std::string_view rest = std::string_view(reference).substr(1);
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string step = unescaped(rest.substr(0, end));
    rest.remove_prefix(end);
    const Json* next = node->find(step);
    const bool index = node->is_array() && !step.empty() &&
                       step.find_first_not_of("0123456789") == std::string::npos &&
                       step.size() < 9 && std::stoul(step) < node->size();
    if (index) next = &node->at(std::stoul(step));
    if (next == nullptr)
      fail(ErrorCode::kInvalidArgument, "{}: '{}' leads nowhere: no '{}'", at, reference, step);
    node = next;
  }
  return {node, reference};
}

}  // namespace dure
