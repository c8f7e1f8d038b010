// Filters over sequences and mappings. Those that Python walks lazily give a generator, whose items
// are made at once here: no template can see the difference.
#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include "jinja/arguments.h"
#include "jinja/filters.h"
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
Value sort_key(const Value& item, const Value& attribute, bool case_sensitive) {
  Value key = at_path(item, attribute);
  return key.is_string() && !case_sensitive ? Value(to_lower(key.text())) : key;
}

// Stable.
std::vector<Value> sorted(const std::vector<Value>& items, const std::vector<Value>& keys,
                          bool reverse) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return reverse ? compare(keys[b], keys[a], "<") < 0 : compare(keys[a], keys[b], "<") < 0;
  });
  std::vector<Value> out;
  for (const size_t i : order) out.push_back(items[i]);
  return out;
}

// The arguments after the first `count`.
Arguments rest_of(const Arguments& arguments, size_t count) {
  const size_t skipped = std::min(count, arguments.positional.size());
  return {
      {arguments.positional.begin() + static_cast<int64_t>(skipped), arguments.positional.end()},
      arguments.named};
}

// select and its kin: `Keep` what passes or what fails; the test looks at an attribute, or at the
// item.
template <bool Keep, bool ByAttribute>
Value selected(const Value& subject, Arguments& arguments) {
  if (!truth(subject)) return generator_of({});
  const auto& given = arguments.positional;
  constexpr size_t kTestAt = ByAttribute ? 1 : 0;
  if (given.size() < kTestAt) raise("Missing parameter for attribute name");
  TestFunction test = [](const Value& value, Arguments&) { return truth(value); };
  if (given.size() > kTestAt) {
    test = given[kTestAt].is_string() ? find_test(given[kTestAt].text()) : nullptr;
    if (test == nullptr) raise_unknown("test", str(given[kTestAt]));
  }
  const Arguments rest = rest_of(arguments, kTestAt + 1);
  std::vector<Value> out;
  for (const Value& item : to_vector(subject)) {
    Arguments copy = rest;
    if (test(ByAttribute ? at_path(item, given[0]) : item, copy) == Keep) out.push_back(item);
  }
  return generator_of(std::move(out));
}

Value filter_map(const Value& subject, Arguments& arguments) {
  if (!truth(subject)) return generator_of({});
  std::vector<Value> out;
  if (arguments.positional.empty()) {
    Bound bound("map", arguments, {"attribute"}, 1);
    for (const Value& item : to_vector(subject)) out.push_back(at_path(item, bound.at(0)));
    return generator_of(std::move(out));
  }
  const Value& name = arguments.positional[0];
  const FilterFunction filter = name.is_string() ? find_filter(name.text()) : nullptr;
  if (filter == nullptr) raise_unknown("filter", str(name));
  const Arguments rest = rest_of(arguments, 1);
  for (const Value& item : to_vector(subject)) {
    Arguments copy = rest;
    out.push_back(filter(item, copy));
  }
  return generator_of(std::move(out));
}

template <bool Largest>
Value extreme(const Value& subject, Arguments& arguments) {
  Bound bound(Largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const Value attribute = bound.value(1, Value::none());
  std::optional<Value> best, best_key;
  for (const Value& item : to_vector(subject)) {
    Value key = sort_key(item, attribute, bound.flag(0, false));
    if (best.has_value() &&
        !((Largest ? compare(key, *best_key, ">") : compare(*best_key, key, ">")) > 0))
      continue;
    best = item;
    best_key = std::move(key);
  }
  return best.value_or(Value::undefined("No aggregated item, sequence was empty."));
}

Value filter_batch(const Value& subject, Arguments& arguments) {
  Bound bound("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = bound.integer(0, 1);
  check_size(size * static_cast<int64_t>(sizeof(Value)));
  std::vector<Value> batches, batch;
  for (const Value& item : to_vector(subject)) {
    if (static_cast<int64_t>(batch.size()) == size)
      batches.push_back(Value::list(std::exchange(batch, {})));
    batch.push_back(item);
  }
  if (!batch.empty()) {
    while (bound.given(1) && static_cast<int64_t>(batch.size()) < size)
      batch.push_back(bound.at(1));
    batches.push_back(Value::list(std::move(batch)));
  }
  return generator_of(std::move(batches));
}

Value filter_dictsort(const Value& subject, Arguments& arguments) {
  Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.has(1) ? bound.text(1) : "key";
  if (by != "key" && by != "value") raise("You can only sort by either \"key\" or \"value\"");
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_dict()) raise("TypeError: dictsort wants a mapping, not {}", type_name(subject));
  const Value items = items_of(subject);
  std::vector<Value> keys;
  for (const Value& item : items.items())
    keys.push_back(sort_key(item, Value(by == "key" ? 0 : 1), bound.flag(0, false)));
  return Value::list(sorted(items.items(), keys, bound.flag(2, false)));
}

Value filter_first(const Value& subject, Arguments& arguments) {
  Bound bound("first", arguments, {});
  if (!is_iterable(subject)) raise("TypeError: '{}' object is not iterable", type_name(subject));
  const std::vector<Value> items = to_vector(subject);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value filter_last(const Value& subject, Arguments& arguments) {
  Bound bound("last", arguments, {});
  if (!is_iterable(subject) || subject.kind() == Kind::kGenerator)
    raise("TypeError: '{}' object is not reversible", type_name(subject));
  const std::vector<Value> items = to_vector(subject);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value filter_items(const Value& subject, Arguments& arguments) {
  Bound bound("items", arguments, {});
  if (subject.is_undefined()) return generator_of({});
  if (!subject.is_dict()) raise("TypeError: Can only get item pairs from a mapping.");
  return generator_of(items_of(subject).items());
}

Value filter_join(const Value& subject, Arguments& arguments) {
  Bound bound("join", arguments, {"d", "attribute"});
  const std::string separator = bound.has(0) ? str(bound.at(0)) : "";
  const Value attribute = bound.value(1, Value::none());
  std::string out;
  bool first = true;
  for (const Value& item : to_vector(subject)) {
    if (!std::exchange(first, false)) out += separator;
    out += str(at_path(item, attribute));
    check_size(static_cast<int64_t>(out.size()));
  }
  return Value(std::move(out));
}

Value filter_length(const Value& subject, Arguments& arguments) {
  Bound bound("length", arguments, {});
  return Value(length_of(subject));
}

Value filter_list(const Value& subject, Arguments& arguments) {
  Bound bound("list", arguments, {});
  return Value::list(to_vector(subject));
}

Value filter_reverse(const Value& subject, Arguments& arguments) {
  Bound bound("reverse", arguments, {});
  if (!is_iterable(subject)) raise("argument must be iterable");
  if (subject.is_string()) return get_slice(subject, Value::none(), Value::none(), Value(-1));
  std::vector<Value> items = to_vector(subject);
  std::reverse(items.begin(), items.end());
  return subject.kind() == Kind::kGenerator ? Value::list(std::move(items))
                                            : generator_of(std::move(items));
}

Value filter_sort(const Value& subject, Arguments& arguments) {
  Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const Value attribute = bound.value(2, Value::none());
  if (attribute.is_string() && attribute.text().find(',') != std::string::npos)
    raise("sorting by several attributes is not supported");
  const std::vector<Value> items = to_vector(subject);
  std::vector<Value> keys;
  for (const Value& item : items) keys.push_back(sort_key(item, attribute, bound.flag(1, false)));
  return Value::list(sorted(items, keys, bound.flag(0, false)));
}

Value filter_sum(const Value& subject, Arguments& arguments) {
  Bound bound("sum", arguments, {"attribute", "start"});
  const Value attribute = bound.value(0, Value::none());
  Value sum = bound.value(1, Value(0));
  if (sum.is_string()) raise("TypeError: sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& item : to_vector(subject))
    sum = binary(BinaryOperator::kAdd, sum, at_path(item, attribute));
  return sum;
}

Value filter_unique(const Value& subject, Arguments& arguments) {
  Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  const Value attribute = bound.value(1, Value::none());
  DictObject seen;
  std::vector<Value> out;
  for (const Value& item : to_vector(subject)) {
    Value key = sort_key(item, attribute, bound.flag(0, false));
    if (seen.find(key) != nullptr) continue;
    seen.set(std::move(key), Value::none());
    out.push_back(item);
  }
  return generator_of(std::move(out));
}

constexpr FilterEntry kSequenceFilters[] = {
    {"batch", filter_batch},
    {"count", filter_length},
    {"dictsort", filter_dictsort},
    {"first", filter_first},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"map", filter_map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", selected<false, false>},
    {"rejectattr", selected<false, true>},
    {"reverse", filter_reverse},
    {"select", selected<true, false>},
    {"selectattr", selected<true, true>},
    {"sort", filter_sort},
    {"sum", filter_sum},
    {"unique", filter_unique},
};

}  // namespace

std::span<const FilterEntry> sequence_filters() { return kSequenceFilters; }

}  // namespace dure::jinja
