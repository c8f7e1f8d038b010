// Filters over sequences and mappings. Those that Python walks lazily give a generator, whose items
// are made at once here: no template can see the difference.
#include <algorithm>
#include <numeric>

#include "jinja/builtin.h"
#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

Value generator_of(std::vector<Value> items) {
  return Value::sequence(Kind::kGenerator, std::move(items), "generator");
}

Value attribute_step(std::string_view part) {
  const bool is_number = !part.empty() && part.size() < 18 &&
                         part.find_first_not_of("0123456789") == std::string_view::npos;
  return is_number ? Value(int64_t{std::stoll(std::string(part))}) : Value(part);
}

// What `attribute` names of the item: nothing (the item itself), an index, or a path "a.b.0".
Value at_path(Value item, const Value& attribute) {
  if (attribute.is_none()) return item;
  if (!attribute.is_string()) return get_item(item, attribute);
  for (const std::string& part : split(attribute.text(), ".", -1))
    item = get_item(item, attribute_step(part));
  return item;
}

// What sorting and comparing look at: the attribute, without its case unless that matters.
Value sort_key(const Value& item, const Value& attribute, bool case_sensitive = false) {
  Value key = at_path(item, attribute);
  return key.is_string() && !case_sensitive ? Value(to_lower(key.text())) : key;
}

struct SortOptions {
  bool reverse = false, case_sensitive = false;
};

// Stable.
std::vector<Value> sorted(const std::vector<Value>& items, const Value& attribute,
                          SortOptions options) {
  std::vector<Value> keys, out;
  for (const Value& item : items) keys.push_back(sort_key(item, attribute, options.case_sensitive));
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return options.reverse ? compare(keys[b], keys[a], "<") < 0
                           : compare(keys[a], keys[b], "<") < 0;
  });
  for (const size_t i : order) out.push_back(items[i]);
  return out;
}

// Applies a filter or test that is named in the arguments, with those that follow the name.
class Applied {
 public:
  Applied(const Bound& arguments, size_t name_at, std::string_view what)
      : context_(arguments.context()), rest_(arguments.all()) {
    const Value name = rest_.positional[name_at];
    builtin_ = !name.is_string() ? nullptr
               : what == "test"  ? find_test(name.text())
                                 : find_filter(name.text());
    if (builtin_ == nullptr) raise_unknown(what, str(name));
    const auto begin = rest_.positional.begin();
    rest_.positional.erase(begin, begin + static_cast<int64_t>(name_at) + 1);
  }
  Value operator()(const Value& item) { return builtin_->call(context_, item, rest_); }

 private:
  Context& context_;
  Arguments rest_;
  const Builtin* builtin_;
};

// select and its kin: `Keep` what passes or what fails; the test looks at an attribute, or at the
// item.
template <bool Keep, bool ByAttribute>
Value selected(const Value& subject, const Bound& arguments) {
  if (!truth(subject)) return generator_of({});
  const auto& given = arguments.all().positional;
  constexpr size_t kTestAt = ByAttribute ? 1 : 0;
  if (given.size() < kTestAt) raise("Missing parameter for attribute name");
  std::optional<Applied> test;
  if (given.size() > kTestAt) test.emplace(arguments, kTestAt, "test");
  std::vector<Value> out;
  for (const Value& item : to_vector(subject)) {
    const Value looked_at = ByAttribute ? at_path(item, given[0]) : item;
    if (truth(test.has_value() ? (*test)(looked_at) : looked_at) == Keep) out.push_back(item);
  }
  return generator_of(std::move(out));
}

// map(attribute="a.b", default=...), or map("filter", ...).
Value filter_map(const Value& subject, const Bound& arguments) {
  if (!truth(subject)) return generator_of({});
  const Arguments& all = arguments.all();
  std::vector<Value> out;
  if (!all.positional.empty()) {
    Applied filter(arguments, 0, "filter");
    for (const Value& item : to_vector(subject)) out.push_back(filter(item));
    return generator_of(std::move(out));
  }
  std::optional<Value> attribute, otherwise;
  for (const auto& [name, value] : all.named) {
    if (name != "attribute" && name != "default")
      raise("map wants a filter, or an attribute with a default, not '{}'", name);
    (name == "default" ? otherwise : attribute) = value;
  }
  if (!attribute) raise("map wants a filter, or an attribute");
  for (const Value& item : to_vector(subject)) {
    const Value found = at_path(item, *attribute);
    out.push_back(found.is_undefined() && otherwise ? *otherwise : found);
  }
  return generator_of(std::move(out));
}

template <bool Largest>
Value extreme(const Value& subject, const Bound&) {
  std::optional<Value> best, best_key;
  for (const Value& item : to_vector(subject)) {
    Value key = sort_key(item, Value::none());
    if (best.has_value() &&
        !((Largest ? compare(key, *best_key, ">") : compare(*best_key, key, ">")) > 0))
      continue;
    best = item;
    best_key = std::move(key);
  }
  return best.value_or(Value::undefined("No aggregated item, sequence was empty."));
}

Value filter_batch(const Value& subject, const Bound& arguments) {
  const int64_t size = arguments.integer(0, 1);
  std::vector<Value> batches, batch;
  for (const Value& item : to_vector(subject)) {
    if (static_cast<int64_t>(batch.size()) == size)
      batches.push_back(Value::list(std::exchange(batch, {})));
    batch.push_back(item);
  }
  if (!batch.empty()) batches.push_back(Value::list(std::move(batch)));
  return generator_of(std::move(batches));
}

Value filter_dictsort(const Value& subject, const Bound&) {
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_dict()) raise("TypeError: dictsort wants a mapping, not {}", type_name(subject));
  return Value::list(sorted(items_of(subject).items(), Value(0), {}));
}

Value filter_first(const Value& subject, const Bound&) {
  const std::vector<Value> items = to_vector(subject);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value filter_last(const Value& subject, const Bound& arguments) {
  if (!is_iterable(subject) || subject.kind() == Kind::kGenerator)
    raise("TypeError: '{}' object is not reversible", type_name(subject));
  const std::vector<Value> items = to_vector(subject);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value filter_items(const Value& subject, const Bound& arguments) {
  if (subject.is_undefined()) return generator_of({});
  if (!subject.is_dict()) raise("TypeError: Can only get item pairs from a mapping.");
  return generator_of(items_of(subject).items());
}

Value filter_join(const Value& subject, const Bound& arguments) {
  const std::string separator = arguments.has(0) ? str(arguments.at(0)) : "";
  std::string out;
  bool first = true;
  for (const Value& item : to_vector(subject)) {
    if (!std::exchange(first, false)) out += separator;
    out += str(at_path(item, arguments.value(1, Value::none())));
    check_size(static_cast<int64_t>(out.size()));
  }
  return Value(std::move(out));
}

Value filter_reverse(const Value& subject, const Bound& arguments) {
  if (!is_iterable(subject)) raise("argument must be iterable");
  if (subject.is_string()) return get_slice(subject, Value::none(), Value::none(), Value(-1));
  std::vector<Value> items = to_vector(subject);
  std::reverse(items.begin(), items.end());
  return subject.kind() == Kind::kGenerator ? Value::list(std::move(items))
                                            : generator_of(std::move(items));
}

Value filter_sort(const Value& subject, const Bound& arguments) {
  const Value attribute = arguments.value(2, Value::none());
  if (attribute.is_string() && attribute.text().find(',') != std::string::npos)
    raise("sorting by several attributes is not supported");
  return Value::list(sorted(to_vector(subject), attribute,
                            {.reverse = arguments.flag(0), .case_sensitive = arguments.flag(1)}));
}

Value filter_sum(const Value& subject, const Bound& arguments) {
  Value sum = arguments.value(1, Value(0));
  const Value attribute = arguments.value(0, Value::none());
  for (const Value& item : to_vector(subject))
    sum = binary(BinaryOperator::kAdd, sum, at_path(item, attribute));
  return sum;
}

Value filter_unique(const Value& subject, const Bound&) {
  DictObject seen;
  std::vector<Value> out;
  for (const Value& item : to_vector(subject)) {
    Value key = sort_key(item, Value::none());
    if (seen.find(key) != nullptr) continue;
    seen.set(std::move(key), Value::none());
    out.push_back(item);
  }
  return generator_of(std::move(out));
}

using V = const Value&;
using B = const Bound&;
constexpr Builtin kSequenceFilters[] = {
    {"batch", "linecount", filter_batch},
    {"count", "", [](V v, B) { return Value(length_of(v)); }},
    {"dictsort", "", filter_dictsort},
    {"first", "", filter_first},
    {"items", "", filter_items},
    {"join", "[d] [attribute]", filter_join},
    {"last", "", filter_last},
    {"length", "", [](V v, B) { return Value(length_of(v)); }},
    {"list", "", [](V v, B) { return Value::list(to_vector(v)); }},
    {"map", "*", filter_map},
    {"max", "", extreme<true>},
    {"min", "", extreme<false>},
    {"reject", "*", selected<false, false>},
    {"rejectattr", "*", selected<false, true>},
    {"reverse", "", filter_reverse},
    {"select", "*", selected<true, false>},
    {"selectattr", "*", selected<true, true>},
    {"sort", "[reverse] [case_sensitive] [attribute]", filter_sort},
    {"sum", "[attribute] [start]", filter_sum},
    {"unique", "", filter_unique},
};

}  // namespace

std::span<const Builtin> sequence_filters() { return kSequenceFilters; }

}  // namespace dure::jinja
