// A parameter's schema falls into a part that is text and a part that is JSON; text that would be
// read as JSON is left to the second.
#include "grammar/tagged_call.h"

#include <algorithm>

#include "base/error.h"
#include "grammar/pattern.h"
#include "grammar/schema_values.h"

namespace dure {
namespace {

// In a value either would end it, or the call.
const std::vector<std::string>& value_ends() {
  static const std::vector<std::string> ends = {"</parameter>", "</tool_call>"};
  return ends;
}

ByteDfa any_text() {
  ByteDfa out = pattern_dfa("", PatternMatch::kAnywhere, TextEncoding::kPlain);
  for (const std::string& end : value_ends()) out = difference(out, holding(end));
  return out;
}

// Any character, a line's end too.
constexpr const char* kAny = "(.|\\n|\\r|\\u2028|\\u2029)";

// What the reader of a call takes for JSON, if the schema has a place for its kind.
ByteDfa like_json(bool strings_alone) {
  const std::string pattern =
      strings_alone ? fmt::format("\\s*\"{}*", kAny)
                    : fmt::format("\\s*((true|false|null)\\s*|(-?[0-9]|[\"\\[\\{{]){}*)", kAny);
  return pattern_dfa(pattern, PatternMatch::kWhole, TextEncoding::kPlain);
}

RuleId tag(GrammarBuilder& builder, RuleId key, RuleId value) {
  return builder.sequence({builder.literal("<parameter="), key, builder.literal(">\n"), value,
                           builder.literal("\n</parameter>\n")});
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether the reader of a call sees of which kinds a value may be.
bool kind_is_seen(const Json& schema) {
  return schema.is_object() && (schema.contains("type") || schema.contains("enum"));
}

// One value of a parameter.
class ValueRule {
 public:
  ValueRule(GrammarBuilder& builder, JsonGrammar& json, const Json& document,
            const JsonSchemaOptions& options, std::set<std::string>& ignored)
      : builder_(builder), json_(json), document_(document), options_(options), ignored_(ignored) {}

  RuleId rule(const Json& schema, const std::string& at) { return rule(schema, at, false); }

 private:
  // `beside_others`: other branches of an anyOf are read as JSON.
  RuleId rule(const Json& schema, const std::string& at, bool beside_others) {
    const Json whole = with_definitions(schema);
    if (is_choice(whole)) return branches(whole.at("anyOf"), at);
    SchemaReader reader(whole);
    const SchemaFacts facts = reader.read({{{&whole, at, {}}}, {}});
    ignored_.insert(reader.ignored().begin(), reader.ignored().end());
    const bool seen = kind_is_seen(schema);
    if (!seen && ((facts.types & kTypeString) == 0 || !facts.choices.empty())) {
      fail(ErrorCode::kUnsupported,
           "{}: a value in a tag must have a 'type', an 'enum' or an 'anyOf' of such", at);
    }
    const bool has_json = seen && (facts.types & ~kTypeString) != 0;
    std::vector<RuleId> kinds;
    if ((facts.types & kTypeString) != 0) {
      if (!facts.choices.empty())
        fail(ErrorCode::kUnsupported, "{}: a choice beside strings in a tag", at);
      SchemaValues values(reader);
      kinds.push_back(text(facts, values, has_json || beside_others, seen));
    }
    if (has_json) kinds.push_back(json(whole, facts));
    return builder_.choice(std::move(kinds));
  }

  // References lead to the definitions of the whole.
  Json with_definitions(const Json& schema) const {
    Json out = schema;
    if (!out.is_object()) return out;
    for (const char* name : {"$defs", "definitions"}) {
      const Json* there = document_.find(name);
      if (there != nullptr && !out.contains(name)) out[name] = *there;
    }
    return out;
  }

  // An anyOf with annotations alone.
  static bool is_choice(const Json& schema) {
    if (!schema.is_object() || !schema.contains("anyOf") || !schema.at("anyOf").is_array())
      return false;
    const Json::Object& members = schema.as_object();
    return std::all_of(members.begin(), members.end(), [](const auto& member) {
      return is_one_of(member.first, {"anyOf", "$defs", "definitions", "title", "description",
                                      "default", "examples", "deprecated"});
    });
  }
  RuleId branches(const Json& list, const std::string& at) {
    std::vector<RuleId> rules;
    for (size_t i = 0; i < list.size(); ++i)
      rules.push_back(rule(list.at(i), fmt::format("{}/anyOf/{}", at, i), list.size() > 1));
    return builder_.choice(std::move(rules));
  }

  RuleId text(const SchemaFacts& facts, SchemaValues& values, bool beside_json, bool seen) {
    if (facts.values) return given_texts(facts, values, beside_json);
    ByteDfa out = any_text();
    bool free = true;
    if (const auto demands = text_demands(facts, TextEncoding::kPlain)) {
      out = intersection(out, *demands);
      free = false;
    } else if (facts.length_min > 0 || facts.length_max) {
      const std::string most = facts.length_max ? std::to_string(*facts.length_max) : "";
      out = intersection(out, pattern_dfa(fmt::format("{}{{{},{}}}", kAny, facts.length_min, most),
                                          PatternMatch::kWhole, TextEncoding::kPlain));
      free = false;
    }
    // Where no kind is seen nothing is read as JSON, but for other branches.
    if (beside_json || (seen && !free)) out = difference(out, like_json(!beside_json));
    return out.empty() ? builder_.choice({}) : builder_.terminal(out);
  }
  RuleId given_texts(const SchemaFacts& facts, SchemaValues& values, bool beside_json) {
    const ByteDfa any = any_text(), json = like_json(!beside_json);
    std::vector<RuleId> rules;
    for (const Json& value : *facts.values) {
      if (!value.is_string() || !values.satisfies(value, facts)) continue;
      const std::string& text = value.as_string();
      if (any.accepts_text(text) && !json.accepts_text(text))
        rules.push_back(builder_.literal(text));
    }
    return builder_.choice(std::move(rules));
  }

  // All but strings.
  RuleId json(const Json& whole, const SchemaFacts& facts) {
    Json others = whole;
    Json::Array kinds;
    const auto add = [&](uint8_t type, const char* name) {
      if ((facts.types & type) != 0) kinds.emplace_back(name);
    };
    add(kTypeNull, "null");
    add(kTypeBoolean, "boolean");
    add(kTypeFraction, "number");
    if ((facts.types & kTypeFraction) == 0) add(kTypeInteger, "integer");
    add(kTypeArray, "array");
    add(kTypeObject, "object");
    others["type"] = Json(std::move(kinds));
    const JsonSchemaRule made = add_json_schema(json_, others, options_);
    ignored_.insert(made.ignored.begin(), made.ignored.end());
    return made.rule;
  }

  GrammarBuilder& builder_;
  JsonGrammar& json_;
  const Json& document_;
  const JsonSchemaOptions& options_;
  std::set<std::string>& ignored_;
};

// Keywords of the arguments as a whole that are held here.
void check_whole(const Json& parameters) {
  if (!parameters.is_object()) return;
  for (const auto& [name, value] : parameters.as_object()) {
    if (is_one_of(name, {"type", "properties", "required", "additionalProperties", "$defs",
                         "definitions", "title", "description", "$schema", "default", "examples",
                         "strict", "$id", "$comment"}))
      continue;
    fail(ErrorCode::kUnsupported, "#/{}: not held for calls in tags", name);
  }
}

bool is_required(const Json& parameters, const std::string& name) {
  const Json* list = parameters.find("required");
  if (list == nullptr || !list->is_array()) return false;
  const Json::Array& names = list->as_array();
  return std::any_of(names.begin(), names.end(),
                     [&](const Json& one) { return one.is_string() && one.as_string() == name; });
}

void check_required(const Json& parameters, const Json& properties) {
  const Json* list = parameters.find("required");
  if (list == nullptr || !list->is_array()) return;
  for (const Json& name : list->as_array()) {
    if (!name.is_string() || properties.find(name.as_string()) == nullptr)
      fail(ErrorCode::kUnsupported, "#/required: a name that is not among the properties");
  }
}

}  // namespace

TaggedArguments add_tagged_arguments(GrammarBuilder& builder, JsonSpacing spacing,
                                     const Json& parameters, const JsonSchemaOptions& options) {
  check_whole(parameters);
  TaggedArguments out;
  JsonGrammar json(builder, spacing, value_ends());
  ValueRule values(builder, json, parameters, options, out.ignored);
  std::vector<RuleId> parts;
  const Json none = Json::object();
  const Json* listed = parameters.is_object() ? parameters.find("properties") : nullptr;
  const Json& properties = listed != nullptr ? *listed : none;
  check_required(parameters, properties);
  for (const auto& [name, schema] : properties.as_object()) {
    if (name.empty() || name.find_first_of("<>\n") != std::string::npos)
      fail(ErrorCode::kUnsupported, "#/properties/{}: a name that no tag can hold", name);
    const RuleId one = tag(builder, builder.literal(name),
                           values.rule(schema, fmt::format("#/properties/{}", name)));
    parts.push_back(is_required(parameters, name) ? one : builder.at_most(one, 1));
  }
  out.rule = parts.empty() ? builder.literal("") : builder.sequence(parts);
  return out;
}

RuleId add_any_tagged_arguments(GrammarBuilder& builder) {
  return builder.any_number(
      tag(builder, builder.pattern("[^<>\n]{1,64}"), builder.terminal(any_text())));
}

}  // namespace dure
