// The same automata that make grammars judge values, so the two cannot disagree.
#include "grammar/schema_values.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/utf8.h"
#include "grammar/pattern.h"
#include "grammar/string_formats.h"

namespace dure {
namespace {

constexpr int kDepthMax = 100;

std::string length_pattern(int64_t min, std::optional<int64_t> max) {
  return fmt::format("(.|\\n|\\r|\\u2028|\\u2029){{{},{}}}", min, max ? std::to_string(*max) : "");
}

int64_t char_count(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return !is_utf8_tail(c); });
}

const Json* discriminator(const SchemaFacts& facts, const std::string& name) {
  for (const ObjectShape& shape : facts.objects)
    if (const SchemaRef* member = shape.find(name)) return member->node;
  return nullptr;
}

}  // namespace

uint8_t schema_type_of(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return kTypeNull;
    case Json::Kind::kBool:
      return kTypeBoolean;
    case Json::Kind::kInt:
      return kTypeInteger;
    case Json::Kind::kDouble:
      return std::floor(value.as_double()) == value.as_double() ? kTypeInteger : kTypeFraction;
    case Json::Kind::kString:
      return kTypeString;
    case Json::Kind::kArray:
      return kTypeArray;
    case Json::Kind::kObject:
      return kTypeObject;
  }
  return 0;
}

std::optional<ByteDfa> text_demands(const SchemaFacts& facts, TextEncoding encoding) {
  std::optional<ByteDfa> out;
  const auto add = [&](const std::string& pattern, PatternMatch match) {
    ByteDfa dfa = pattern_dfa(pattern, match, encoding);
    out = out ? intersection(*out, dfa) : std::move(dfa);
  };
  for (const std::string& pattern : facts.patterns) add(pattern, PatternMatch::kAnywhere);
  for (const std::string& format : facts.formats)
    add(*format_pattern(format), PatternMatch::kWhole);
  if (out && (facts.length_min > 0 || facts.length_max))
    add(length_pattern(facts.length_min, facts.length_max), PatternMatch::kWhole);
  return out;
}

ByteDfa number_demands(const SchemaFacts& facts, uint8_t types) {
  NumberFacts number{.integer = (types & kTypeFraction) == 0, .low = facts.low, .high = facts.high};
  if (facts.multiples.empty()) return number_dfa(number);
  std::optional<ByteDfa> out;
  for (const Decimal& step : facts.multiples) {
    number.multiple_of = step;
    ByteDfa dfa = number_dfa(number);
    out = out ? intersection(*out, dfa) : std::move(dfa);
  }
  return *out;
}

bool name_matches(const std::string& pattern, const std::string& name) {
  return pattern_dfa(pattern, PatternMatch::kAnywhere, TextEncoding::kPlain).accepts_text(name);
}

std::optional<SchemaSet> member_demands(const SchemaFacts& facts, const std::string& name) {
  SchemaSet set;
  for (const ObjectShape& shape : facts.objects) {
    bool named = false;
    if (const SchemaRef* member = shape.find(name)) {
      set.all.push_back(*member);
      named = true;
    }
    for (const auto& [pattern, schema] : shape.patterns) {
      if (!name_matches(pattern, name)) continue;
      set.all.push_back(schema);
      named = true;
    }
    if (!named && shape.additional) set.all.push_back(*shape.additional);
  }
  for (const SchemaRef& schema : set.all)
    if (schema.node->is_bool() && !schema.node->as_bool()) return std::nullopt;
  return set;
}

bool SchemaValues::satisfies(const Json& value, const SchemaSet& set) {
  if (depth_ >= kDepthMax) fail(ErrorCode::kUnsupported, "{}: nested too deep", set.all[0].at);
  ++depth_;
  const bool out = satisfies(value, reader_.read(set));
  --depth_;
  return out;
}

bool SchemaValues::satisfies(const Json& value, const SchemaFacts& facts) {
  const uint8_t type = schema_type_of(value);
  if (facts.never || (facts.types & type) == 0) return false;
  if (facts.values && std::none_of(facts.values->begin(), facts.values->end(), [&](const Json& v) {
        return v == value ||
               (v.is_number() && value.is_number() && v.as_double() == value.as_double());
      }))
    return false;
  for (const SchemaChoice& choice : facts.choices)
    if (!satisfies_choice(value, choice)) return false;
  if (value.is_array()) return satisfies_array(value, facts);
  if (value.is_object()) return satisfies_object(value, facts);
  if (value.is_number()) {
    if (!facts.low && !facts.high && facts.multiples.empty()) return true;
    const Decimal d = decimal_of(value.dump());
    const std::string digits =
        (d.negative ? "-" : "") + d.whole + (d.fraction.empty() ? "" : "." + d.fraction);
    return number_demands(facts, kTypeInteger | kTypeFraction).accepts_text(digits);
  }
  if (!value.is_string()) return true;
  const int64_t length = char_count(value.as_string());
  if (length < facts.length_min || (facts.length_max && length > *facts.length_max)) return false;
  const auto demands = text_demands(facts, TextEncoding::kPlain);
  return !demands || demands->accepts_text(value.as_string());
}

bool SchemaValues::satisfies_choice(const Json& value, const SchemaChoice& choice) {
  const auto count =
      std::count_if(choice.branches.begin(), choice.branches.end(), [&](const SchemaRef& branch) {
        return satisfies(value, SchemaSet{{branch}, {}});
      });
  return choice.exactly_one ? count == 1 : count > 0;
}

bool SchemaValues::satisfies_array(const Json& value, const SchemaFacts& facts) {
  const auto count = static_cast<int64_t>(value.size());
  if (count < facts.items_min || (facts.items_max && count > *facts.items_max)) return false;
  for (size_t i = 0; i < value.size(); ++i) {
    for (const ArrayShape& shape : facts.arrays) {
      const bool in_prefix = i < shape.prefix.size();
      if (!in_prefix && !shape.rest) continue;
      const SchemaRef& item = in_prefix ? shape.prefix[i] : *shape.rest;
      if (!satisfies(value.at(i), SchemaSet{{item}, {}})) return false;
    }
  }
  return true;
}

bool SchemaValues::satisfies_name(const std::string& name, const SchemaFacts& facts) {
  return std::all_of(facts.member_names.begin(), facts.member_names.end(),
                     [&](const SchemaRef& schema) {
                       return satisfies(Json(name), SchemaSet{{schema}, {}});
                     });
}

bool SchemaValues::satisfies_object(const Json& value, const SchemaFacts& facts) {
  const auto count = static_cast<int64_t>(value.size());
  if (count < facts.members_min || (facts.members_max && count > *facts.members_max)) return false;
  for (const std::string& name : facts.required)
    if (!value.contains(name)) return false;
  for (const auto& [name, member] : value.as_object()) {
    const auto demands = member_demands(facts, name);
    if (!demands || !satisfies_name(name, facts)) return false;
    if (!demands->all.empty() && !satisfies(member, *demands)) return false;
  }
  return true;
}

bool SchemaValues::all_fail(const std::vector<Json>& values, const SchemaFacts& facts) {
  return std::none_of(values.begin(), values.end(),
                      [&](const Json& v) { return satisfies(v, facts); });
}

bool SchemaValues::exclude(const SchemaSet& a, const SchemaSet& b) {
  if (depth_ >= 4) return false;
  const SchemaFacts x = reader_.read(a), y = reader_.read(b);
  if (x.never || y.never || (x.types & y.types) == 0) return true;
  if (x.values) return all_fail(*x.values, y);
  if (y.values) return all_fail(*y.values, x);
  const uint8_t common = x.types & y.types;
  if ((common & ~(kTypeInteger | kTypeFraction)) == 0) {
    if (!x.low && !x.high && x.multiples.empty()) return false;
    return intersection(number_demands(x, common), number_demands(y, common)).empty();
  }
  if (common == kTypeString) {
    const auto p = text_demands(x, TextEncoding::kPlain);
    const auto q = text_demands(y, TextEncoding::kPlain);
    return p && q && intersection(*p, *q).empty();
  }
  return common == kTypeObject && members_exclude(x, y);
}

// A member that one of them demands and whose values exclude each other.
bool SchemaValues::members_exclude(const SchemaFacts& a, const SchemaFacts& b) {
  const auto excluded = [&](const std::string& name) {
    const auto x = member_demands(a, name);
    const auto y = member_demands(b, name);
    if (!x || !y) return true;
    if (discriminator(a, name) == nullptr || discriminator(b, name) == nullptr) return false;
    ++depth_;
    const bool out = exclude(*x, *y);
    --depth_;
    return out;
  };
  return std::any_of(a.required.begin(), a.required.end(), excluded) ||
         std::any_of(b.required.begin(), b.required.end(), excluded);
}

}  // namespace dure
