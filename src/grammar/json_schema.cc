// A rule for each set of schemas that must hold at one place; recursion is a rule that is met again
// while it is open. Choices are branched on before types.
#include "grammar/json_schema.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "grammar/pattern.h"
#include "grammar/schema_facts.h"
#include "grammar/schema_values.h"

namespace dure {
namespace {

constexpr int kDepthMax = 400;
constexpr size_t kRulesMax = 20'000;  // Choices within allOf multiply.
constexpr size_t kPatternsMax = 5;    // patternProperties of one object: subsets are told apart
constexpr int64_t kMembersCountMax = 1'000;

class SchemaCompiler {
 public:
  SchemaCompiler(JsonGrammar& json, const Json& document, const JsonSchemaOptions& options)
      : json_(json),
        builder_(json.builder()),
        options_(options),
        reader_(document),
        values_(reader_) {}

  JsonSchemaRule compile(const Json& document) {
    const RuleId rule = rule_for({{{&document, "#"}}, {}});
    return {rule, reader_.ignored()};
  }

 private:
  using Body = GrammarBuilder::Body;
  using Key = std::pair<std::vector<const Json*>, std::set<const Json*>>;

  // Adds the place to what is refused below it.
  template <typename Work>
  static auto at_place(const SchemaFacts& facts, const Work& work) {
    try {
      return work();
    } catch (const Error& e) {
      throw Error(e.code(), fmt::format("{}: {}", facts.at, e.what()));
    }
  }

  RuleId nothing() { return builder_.choice({}); }

  RuleId rule_for(const SchemaSet& set) {
    Key key;
    for (const SchemaRef& schema : set.all) key.first.push_back(schema.node);
    std::sort(key.first.begin(), key.first.end());
    key.second = set.taken;
    if (const auto found = rules_.find(key); found != rules_.end()) return found->second;
    if (depth_ >= kDepthMax)
      fail(ErrorCode::kUnsupported, "{}: schemas nested more than {} deep", set.all[0].at,
           kDepthMax);
    if (rules_.size() >= kRulesMax)
      fail(ErrorCode::kUnsupported, "{}: more than {} combinations of schemas", set.all[0].at,
           kRulesMax);
    const Body body = builder_.open();
    rules_[key] = body.rule;
    ++depth_;
    builder_.call(body.start, rule_of(set, reader_.read(set)), body.final);
    --depth_;
    return body.rule;
  }

  RuleId rule_of(const SchemaSet& set, const SchemaFacts& facts) {
    if (facts.never) return nothing();
    if (!facts.choices.empty()) return branches(set, facts.choices[0]);
    if (facts.values) return given_values(facts);
    std::vector<RuleId> kinds;
    if ((facts.types & kTypeNull) != 0) kinds.push_back(json_.null());
    if ((facts.types & kTypeBoolean) != 0) kinds.push_back(json_.boolean());
    if ((facts.types & kTypeInteger) != 0)
      kinds.push_back(builder_.terminal(number_demands(facts, facts.types)));
    if ((facts.types & kTypeString) != 0) kinds.push_back(string(facts));
    if ((facts.types & kTypeArray) != 0) kinds.push_back(array(facts));
    if ((facts.types & kTypeObject) != 0) kinds.push_back(object(facts));
    return builder_.choice(std::move(kinds));
  }

  RuleId branches(const SchemaSet& set, const SchemaChoice& choice) {
    if (choice.exactly_one) check_exclusive(choice);
    std::vector<RuleId> rules;
    for (const SchemaRef& branch : choice.branches) {
      SchemaSet one = set;
      one.all.push_back(branch);
      one.taken.insert(choice.list);
      rules.push_back(rule_for(one));
    }
    return builder_.choice(std::move(rules));
  }
  void check_exclusive(const SchemaChoice& choice) {
    const auto& all = choice.branches;
    for (size_t i = 0; i < all.size(); ++i) {
      for (size_t k = i + 1; k < all.size(); ++k) {
        if (values_.exclude({{all[i]}, {}}, {{all[k]}, {}})) continue;
        fail(ErrorCode::kUnsupported,
             "{}: the keyword 'oneOf' is supported only where no value can satisfy two branches; "
             "{} and {} are not seen to exclude each other (anyOf would do)",
             choice.at, i, k);
      }
    }
  }

  RuleId given_values(const SchemaFacts& facts) {
    std::vector<RuleId> rules;
    for (const Json& value : *facts.values)
      if (values_.satisfies(value, facts)) rules.push_back(json_.given(value));
    return builder_.choice(std::move(rules));
  }

  RuleId string(const SchemaFacts& facts) {
    const auto contents =
        at_place(facts, [&] { return text_demands(facts, TextEncoding::kJsonString); });
    return contents ? json_.quoted(*contents) : json_.string_of(facts.length_min, facts.length_max);
  }
  RuleId item_rule(const SchemaFacts& facts, size_t i) {
    SchemaSet set;
    for (const ArrayShape& shape : facts.arrays) {
      if (i < shape.prefix.size()) {
        set.all.push_back(shape.prefix[i]);
      } else if (shape.rest) {
        set.all.push_back(*shape.rest);
      }
    }
    return set.all.empty() ? json_.value() : rule_for(set);
  }

  RuleId array(const SchemaFacts& facts) {
    if (facts.arrays.empty() && facts.items_min == 0 && !facts.items_max) return json_.array();
    size_t prefix = 0;
    for (const ArrayShape& shape : facts.arrays) prefix = std::max(prefix, shape.prefix.size());
    const Body body = builder_.open();
    NodeId at = builder_.node();
    builder_.call(body.start, json_.open('['), at);
    const auto may_end = [&](size_t count) {
      if (static_cast<int64_t>(count) >= facts.items_min)
        builder_.call(at, json_.close(']'), body.final);
    };
    // One item more than the prefix: the first of the others has no comma where the prefix is
    // empty.
    const size_t first_count = std::max<size_t>(prefix, 1);
    for (size_t i = 0; i < first_count; ++i) {
      may_end(i);
      if (facts.items_max && static_cast<int64_t>(i) >= *facts.items_max) return body.rule;
      if (i > 0) at = after(at, json_.comma());
      at = after(at, item_rule(facts, i));
    }
    const auto done = static_cast<int64_t>(first_count);
    if (facts.items_max && *facts.items_max < done) return body.rule;
    const RuleId more = builder_.sequence({json_.comma(), item_rule(facts, first_count)});
    const auto max = facts.items_max ? std::optional(*facts.items_max - done) : std::nullopt;
    at = after(at, at_place(facts, [&] {
                 return builder_.repeated(more, std::max<int64_t>(facts.items_min - done, 0), max);
               }));
    builder_.call(at, json_.close(']'), body.final);
    return body.rule;
  }
  NodeId after(NodeId at, RuleId rule) {
    const NodeId next = builder_.node();
    builder_.call(at, rule, next);
    return next;
  }

  // name: value, or nothing where no such member may stand.
  RuleId pair(RuleId key, const SchemaSet& demands) {
    const RuleId value = demands.all.empty() ? json_.value() : rule_for(demands);
    return builder_.sequence({key, json_.colon(), value});
  }

  struct Member {
    RuleId pair = 0;
    bool required = false;
  };
  static constexpr int64_t kNoCount = INT64_MAX;
  struct ObjectPlan {
    std::vector<Member> members;
    std::optional<RuleId> other;  // a further member
    int64_t count_min = 0, count_max = kNoCount;
  };

  RuleId object(const SchemaFacts& facts) {
    ObjectPlan plan{.count_min = facts.members_min,
                    .count_max = facts.members_max.value_or(kNoCount)};
    const std::vector<std::string> names = member_names(facts);
    for (const std::string& name : names) {
      const bool required =
          std::find(facts.required.begin(), facts.required.end(), name) != facts.required.end();
      const auto demands = member_demands(facts, name);
      const bool possible = demands && name_allowed(facts, name);
      if (!possible && required) return nothing();
      if (possible) plan.members.push_back({pair(json_.key(name), *demands), required});
    }
    plan.other = at_place(facts, [&] { return other_member(facts, names); });
    check_counts(facts, plan);
    return object_rule(plan);
  }

  std::vector<std::string> member_names(const SchemaFacts& facts) {
    std::vector<std::string> names;
    const auto add = [&](const std::string& name) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    };
    for (const ObjectShape& shape : facts.objects)
      for (const auto& [name, schema] : shape.properties) add(name);
    for (const std::string& name : facts.required) add(name);
    return names;
  }
  bool name_allowed(const SchemaFacts& facts, const std::string& name) {
    return std::all_of(facts.member_names.begin(), facts.member_names.end(),
                       [&](const SchemaRef& schema) {
                         return values_.satisfies(Json(name), SchemaSet{{schema}, {}});
                       });
  }

  // Members beyond the named ones.
  std::optional<RuleId> other_member(const SchemaFacts& facts,
                                     const std::vector<std::string>& names) {
    bool listed = false, asked = false;
    for (const ObjectShape& shape : facts.objects) {
      listed |= shape.lists;
      asked |= shape.additional.has_value();
    }
    const bool only_patterns =
        listed && !asked && options_.unlisted == UnlistedMembers::kOnlyIfAsked;
    ByteDfa keys = other_keys(facts, names);
    std::vector<std::pair<std::string, ByteDfa>> patterns;
    for (const ObjectShape& shape : facts.objects) {
      for (const auto& [pattern, schema] : shape.patterns)
        patterns.emplace_back(
            pattern, pattern_dfa(pattern, PatternMatch::kAnywhere, TextEncoding::kJsonString));
    }
    if (patterns.size() > kPatternsMax)
      fail(ErrorCode::kUnsupported, "more than {} patternProperties", kPatternsMax);
    std::vector<RuleId> rules;
    // Which patterns a key matches decides what its value must satisfy.
    for (size_t subset = only_patterns ? 1 : 0; subset < size_t{1} << patterns.size(); ++subset) {
      ByteDfa matching = keys;
      for (size_t i = 0; i < patterns.size(); ++i)
        matching = (subset >> i & 1) != 0 ? intersection(matching, patterns[i].second)
                                          : difference(matching, patterns[i].second);
      const auto demands = other_demands(facts, subset);
      if (!matching.empty() && demands) rules.push_back(pair(json_.quoted(matching), *demands));
    }
    if (rules.empty()) return std::nullopt;
    return builder_.choice(std::move(rules));
  }
  // What a member must satisfy whose key matches the patterns in `subset`.
  static std::optional<SchemaSet> other_demands(const SchemaFacts& facts, size_t subset) {
    SchemaSet set;
    size_t i = 0;
    for (const ObjectShape& shape : facts.objects) {
      bool matched = false;
      for (const auto& [pattern, schema] : shape.patterns) {
        if ((subset >> i++ & 1) == 0) continue;
        set.all.push_back(schema);
        matched = true;
      }
      if (!matched && shape.additional) set.all.push_back(*shape.additional);
    }
    for (const SchemaRef& schema : set.all)
      if (schema.node->is_bool() && !schema.node->as_bool()) return std::nullopt;
    return set;
  }
  ByteDfa other_keys(const SchemaFacts& facts, const std::vector<std::string>& names) {
    ByteDfa keys = any_json_text();
    for (const SchemaRef& schema : facts.member_names)
      keys = intersection(keys, name_texts(schema));
    ByteNfa nfa;
    const ByteNfa::Node begin = nfa.add_node();
    const ByteNfa::Node end = nfa.add_node();
    for (const std::string& name : names)
      nfa.add_skip(nfa.add_text(begin, spelt(name, TextEncoding::kJsonString)), end);
    return difference(keys, nfa.determinise(begin, end));
  }
  // The texts that a schema of propertyNames allows.
  ByteDfa name_texts(const SchemaRef& schema) {
    const SchemaFacts facts = reader_.read({{schema}, {}});
    if (facts.never || (facts.types & kTypeString) == 0) return {};
    if (!facts.choices.empty())
      fail(ErrorCode::kUnsupported, "{}: anyOf and oneOf in propertyNames are not supported",
           schema.at);
    if (facts.values) return given_texts(facts);
    SchemaFacts with_length = facts;
    if (facts.patterns.empty() && facts.formats.empty() &&
        (facts.length_min > 0 || facts.length_max))
      with_length.patterns = {""};
    const auto texts = text_demands(with_length, TextEncoding::kJsonString);
    return texts ? *texts : any_json_text();
  }
  ByteDfa given_texts(const SchemaFacts& facts) {
    ByteNfa nfa;
    const ByteNfa::Node begin = nfa.add_node();
    const ByteNfa::Node end = nfa.add_node();
    for (const Json& value : *facts.values) {
      if (!value.is_string() || !values_.satisfies(value, facts)) continue;
      nfa.add_skip(nfa.add_text(begin, spelt(value.as_string(), TextEncoding::kJsonString)), end);
    }
    return nfa.determinise(begin, end);
  }

  // A key that is not listed may be written twice, and then counts once.
  static void check_counts(const SchemaFacts& facts, ObjectPlan& plan) {
    const int64_t required = std::count_if(plan.members.begin(), plan.members.end(),
                                           [](const Member& m) { return m.required; });
    if (plan.count_min > std::max<int64_t>(required, 1) && plan.other)
      fail(ErrorCode::kUnsupported,
           "{}: minProperties {} is supported only where the members are listed", facts.at,
           plan.count_min);
    const auto listed = static_cast<int64_t>(plan.members.size());
    if (plan.count_min <= required) plan.count_min = 0;
    if (!plan.other && plan.count_max >= listed) plan.count_max = kNoCount;
    if (plan.count_max != kNoCount && plan.count_max > kMembersCountMax)
      fail(ErrorCode::kUnsupported, "{}: maxProperties above {} is not supported", facts.at,
           kMembersCountMax);
  }

  // Nodes by (members passed, members written): the count is kept as far as it matters.
  RuleId object_rule(const ObjectPlan& plan) {
    const int64_t bound = plan.count_max == kNoCount ? 0 : plan.count_max;
    const int64_t cap = std::max<int64_t>({1, plan.count_min, bound});
    const Body body = builder_.open();
    std::vector<NodeId> row = new_row(cap);
    builder_.call(body.start, json_.open('{'), row[0]);
    for (const Member& member : plan.members) {
      const std::vector<NodeId> next = new_row(cap);
      write_member(plan, row, member.pair, next);
      if (!member.required)
        for (size_t c = 0; c < row.size(); ++c) builder_.skip(row[c], next[c]);
      row = next;
    }
    if (plan.other) write_member(plan, row, *plan.other, row);
    for (size_t c = 0; c < row.size(); ++c)
      if (static_cast<int64_t>(c) >= plan.count_min)
        builder_.call(row[c], json_.close('}'), body.final);
    return body.rule;
  }
  std::vector<NodeId> new_row(int64_t cap) {
    std::vector<NodeId> row;
    for (int64_t c = 0; c <= cap; ++c) row.push_back(builder_.node());
    return row;
  }
  void write_member(const ObjectPlan& plan, const std::vector<NodeId>& from, RuleId pair,
                    const std::vector<NodeId>& to) {
    for (size_t c = 0; c < from.size(); ++c) {
      if (static_cast<int64_t>(c) >= plan.count_max) continue;
      const NodeId at = c == 0 ? from[c] : after(from[c], json_.comma());
      builder_.call(at, pair, to[std::min(c + 1, to.size() - 1)]);
    }
  }

  JsonGrammar& json_;
  GrammarBuilder& builder_;
  JsonSchemaOptions options_;
  SchemaReader reader_;
  SchemaValues values_;
  std::map<Key, RuleId> rules_;
  int depth_ = 0;
};

}  // namespace

JsonSchemaRule add_json_schema(JsonGrammar& json, const Json& schema,
                               const JsonSchemaOptions& options) {
  return SchemaCompiler(json, schema, options).compile(schema);
}

}  // namespace dure
