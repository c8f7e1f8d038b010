#include "text/jinja/sequence_filters.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_string.h"

namespace dure::jinja {
namespace {

Value generator(const Value& source, std::function<std::optional<Value>()> next) {
  return Value(std::shared_ptr<Object>(make_object<GeneratorObject>(64, std::move(next), source)));
}

// A generator over items that are there already.
Value generator_of(std::vector<Value> items) {
  const Value list = Value::list(std::move(items));
  auto at = std::make_shared<Iterator>(list);
  return generator(list, [at]() -> std::optional<Value> {
    Value item;
    return at->next(item) ? std::optional<Value>(std::move(item)) : std::nullopt;
  });
}

Value lower_if_text(const Value& value) {
  return value.is_string() ? Value(to_lower(value.text())) : value;
}

// "a.b.0" as steps: each an item or attribute of what came before.
class AttributePath {
 public:
  AttributePath() = default;
  explicit AttributePath(const Value& attribute) {
    if (attribute.is_string()) {
      for (const std::string& part : split(attribute.text(), ".", -1)) add(part);
    } else if (!attribute.is_none()) {
      steps_.push_back(attribute);
    }
  }
  Value of(Value item, const Value* otherwise = nullptr) const {
    for (const Value& step : steps_) {
      item = get_item(item, step);
      if (otherwise != nullptr && !otherwise->is_none() && item.is_undefined()) item = *otherwise;
    }
    return item;
  }

 private:
  void add(const std::string& part) {
    const bool number =
        !part.empty() && part.size() < 18 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    steps_.push_back(number ? Value(int64_t{std::stoll(part)}) : Value(part));
  }
  std::vector<Value> steps_;
};

// Stable order of keys: positions into them.
std::vector<size_t> sorted_order(const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto less = [&](size_t a, size_t b) {
    return reverse ? compare(keys[b], keys[a], "<") < 0 : compare(keys[a], keys[b], "<") < 0;
  };
  std::stable_sort(order.begin(), order.end(), less);
  return order;
}

std::vector<Value> in_order(const std::vector<Value>& items, const std::vector<size_t>& order) {
  std::vector<Value> out;
  out.reserve(items.size());
  for (const size_t i : order) out.push_back(items[i]);
  return out;
}

Value dict_items(const Value& dict) {
  return Value(
      std::shared_ptr<Object>(make_object<DictViewObject>(0, dict, DictViewObject::Part::kItems)));
}

// --- select and its kin ---

using Predicate = std::function<bool(const Value&)>;

Predicate named_test(Context& context, Arguments& arguments, size_t offset) {
  if (arguments.positional.size() <= offset) return truth;
  const Value name = arguments.positional[offset];
  const TestFunction test = name.is_string() ? find_test(name.text()) : nullptr;
  if (test == nullptr)
    throw TemplateError(fmt::format("No test named {}.", repr(name)), ErrorCode::kUnsupported);
  Arguments rest{
      {arguments.positional.begin() + static_cast<int64_t>(offset) + 1, arguments.positional.end()},
      arguments.named};
  return [&context, test, rest](const Value& item) {
    Arguments copy = rest;
    return test(context, item, copy);
  };
}

Value select_or_reject(Context& context, const Value& subject, Arguments& arguments, bool keep,
                       bool by_attribute) {
  if (!truth(subject)) return generator_of({});
  if (by_attribute && arguments.positional.empty()) raise("Missing parameter for attribute name");
  const AttributePath path =
      by_attribute ? AttributePath(arguments.positional[0]) : AttributePath();
  Predicate test = named_test(context, arguments, by_attribute ? 1 : 0);
  auto at = std::make_shared<Iterator>(subject);
  return generator(subject, [at, path, test, keep]() -> std::optional<Value> {
    for (Value item; at->next(item);) {
      if (test(path.of(item)) == keep) return item;
    }
    return std::nullopt;
  });
}

std::function<Value(const Value&)> mapping_function(Context& context, Arguments& arguments) {
  const auto named = [&](std::string_view name) -> const Value* {
    for (const auto& [key, value] : arguments.named) {
      if (key == name) return &value;
    }
    return nullptr;
  };
  if (const Value* attribute = named("attribute");
      attribute != nullptr && arguments.positional.empty()) {
    const Value* given = named("default");
    for (const auto& [key, value] : arguments.named) {
      if (key != "attribute" && key != "default") raise("Unexpected keyword argument '{}'", key);
    }
    const Value otherwise = given != nullptr ? *given : Value::none();
    return [path = AttributePath(*attribute), otherwise](const Value& item) {
      return path.of(item, &otherwise);
    };
  }
  if (arguments.positional.empty()) raise("map requires a filter argument");
  const Value name = arguments.positional[0];
  const FilterFunction filter = name.is_string() ? find_filter(name.text()) : nullptr;
  if (filter == nullptr)
    throw TemplateError(fmt::format("No filter named {}.", repr(name)), ErrorCode::kUnsupported);
  Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
  return [&context, filter, rest](const Value& item) {
    Arguments copy = rest;
    return filter(context, item, copy);
  };
}

Value extreme(const Value& subject, Arguments& arguments, bool largest) {
  Bound bound(largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const bool case_sensitive = bound.flag(0, false);
  const AttributePath path(bound.value(1, Value::none()));
  const auto key_of = [&](const Value& item) {
    return case_sensitive ? path.of(item) : lower_if_text(path.of(item));
  };
  Iterator at(subject);
  Value best, item;
  if (!at.next(best)) return Value::undefined("No aggregated item, sequence was empty.");
  Value best_key = key_of(best);
  while (at.next(item)) {
    Value key = key_of(item);
    const auto order = largest ? compare(key, best_key, ">") : compare(best_key, key, ">");
    if (order > 0) best = item, best_key = std::move(key);
  }
  return best;
}

}  // namespace

Value filter_batch(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = bound.integer(0, 1);
  check_size(size * static_cast<int64_t>(sizeof(Value)));
  std::vector<Value> batches, batch;
  Iterator at(subject);
  for (Value item; at.next(item);) {
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

Value filter_dictsort(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.has(1) ? bound.text(1) : "key";
  if (by != "key" && by != "value") raise("You can only sort by either \"key\" or \"value\"");
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_dict()) raise("TypeError: dictsort wants a mapping, not {}", type_name(subject));
  std::vector<Value> keys, items;
  for (const auto& [key, value] : subject.dict().items) {
    const Value& sorted = by == "key" ? key : value;
    keys.push_back(bound.flag(0, false) ? sorted : lower_if_text(sorted));
    items.push_back(Value::tuple({key, value}));
  }
  return Value::list(in_order(items, sorted_order(keys, bound.flag(2, false))));
}

Value filter_first(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("first", arguments, {});
  Value item;
  return Iterator(subject).next(item) ? item
                                      : Value::undefined("No first item, sequence was empty.");
}

Value filter_groupby(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const AttributePath path(bound.at(0));
  const Value otherwise = bound.value(1, Value::none());
  const bool case_sensitive = bound.flag(2, false);
  const std::vector<Value> all = to_vector(subject);
  std::vector<Value> keys;
  for (const Value& item : all)
    keys.push_back(case_sensitive ? path.of(item, &otherwise)
                                  : lower_if_text(path.of(item, &otherwise)));
  const std::vector<size_t> order = sorted_order(keys, false);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < order.size();) {
    std::vector<Value> members;
    size_t end = begin;
    for (; end < order.size() && equal(keys[order[end]], keys[order[begin]]); ++end)
      members.push_back(all[order[end]]);
    if (end == begin)
      ++end, members.push_back(all[order[begin]]);  // A key that is not equal to itself (NaN).
    Value group = Value::tuple({path.of(members[0], &otherwise), Value::list(std::move(members))});
    group.as<ListObject>()->group = true;
    groups.push_back(std::move(group));
    begin = end;
  }
  return Value::list(std::move(groups));
}

Value filter_items(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("items", arguments, {});
  if (subject.is_undefined()) return generator_of({});
  if (!subject.is_dict()) raise("TypeError: Can only get item pairs from a mapping.");
  return generator_of(to_vector(dict_items(subject)));
}

Value filter_join(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("join", arguments, {"d", "attribute"});
  const std::string separator = bound.has(0) ? str(bound.at(0)) : "";
  const AttributePath path(bound.value(1, Value::none()));
  std::string out;
  bool first = true;
  Iterator at(subject);
  for (Value item; at.next(item); first = false) {
    if (!first) out += separator;
    out += str(path.of(item));
    check_size(static_cast<int64_t>(out.size()));
  }
  return Value(std::move(out));
}

Value filter_last(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("last", arguments, {});
  if (!is_iterable(subject) || subject.kind() == Kind::kGenerator)
    raise("TypeError: '{}' object is not reversible", type_name(subject));
  if (length_of(subject) == 0) return Value::undefined("No last item, sequence was empty.");
  if (subject.is_dict() || subject.kind() == Kind::kDictView) return to_vector(subject).back();
  return *item_at(subject, -1);
}

Value filter_length(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("length", arguments, {});
  return Value(length_of(subject));
}

Value filter_list(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("list", arguments, {});
  return Value::list(to_vector(subject));
}

Value filter_map(Context& context, const Value& subject, Arguments& arguments) {
  if (!truth(subject)) return generator_of({});
  auto function = mapping_function(context, arguments);
  auto at = std::make_shared<Iterator>(subject);
  return generator(subject, [at, function]() -> std::optional<Value> {
    Value item;
    return at->next(item) ? std::optional<Value>(function(item)) : std::nullopt;
  });
}

Value filter_max(Context&, const Value& subject, Arguments& arguments) {
  return extreme(subject, arguments, true);
}
Value filter_min(Context&, const Value& subject, Arguments& arguments) {
  return extreme(subject, arguments, false);
}

Value filter_select(Context& context, const Value& subject, Arguments& arguments) {
  return select_or_reject(context, subject, arguments, true, false);
}
Value filter_reject(Context& context, const Value& subject, Arguments& arguments) {
  return select_or_reject(context, subject, arguments, false, false);
}
Value filter_selectattr(Context& context, const Value& subject, Arguments& arguments) {
  return select_or_reject(context, subject, arguments, true, true);
}
Value filter_rejectattr(Context& context, const Value& subject, Arguments& arguments) {
  return select_or_reject(context, subject, arguments, false, true);
}

Value filter_reverse(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("reverse", arguments, {});
  if (!is_iterable(subject)) raise("argument must be iterable");
  if (subject.is_string()) return get_slice(subject, Value::none(), Value::none(), Value(-1));
  std::vector<Value> items = to_vector(subject);
  std::reverse(items.begin(), items.end());
  return subject.kind() == Kind::kGenerator ? Value::list(std::move(items))
                                            : generator_of(std::move(items));
}

Value filter_slice(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("slice", arguments, {"slices", "fill_with"}, 1);
  const std::vector<Value> all = to_vector(subject);
  const int64_t slices = bound.integer(0, 1), length = static_cast<int64_t>(all.size());
  if (slices == 0) raise("ZeroDivisionError: integer division or modulo by zero");
  check_size(slices * static_cast<int64_t>(sizeof(Value)));
  std::vector<Value> out;
  int64_t begin = 0;
  for (int64_t i = 0; i < slices; ++i) {
    const bool extra = i < length % slices;
    const int64_t end = begin + length / slices + (extra ? 1 : 0);
    std::vector<Value> part(all.begin() + begin, all.begin() + end);
    if (bound.given(1) && !extra) part.push_back(bound.at(1));
    out.push_back(Value::list(std::move(part)));
    begin = end;
  }
  return generator_of(std::move(out));
}

Value filter_sort(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = bound.flag(1, false);
  std::vector<AttributePath> paths;
  if (bound.has(2) && bound.at(2).is_string()) {
    for (const std::string& one : split(bound.at(2).text(), ",", -1))
      paths.emplace_back(Value(one));
  } else {
    paths.emplace_back(bound.value(2, Value::none()));
  }
  const std::vector<Value> items = to_vector(subject);
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const AttributePath& path : paths)
      key.push_back(case_sensitive ? path.of(item) : lower_if_text(path.of(item)));
    keys.push_back(Value::list(std::move(key)));
  }
  return Value::list(in_order(items, sorted_order(keys, bound.flag(0, false))));
}

Value filter_sum(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("sum", arguments, {"attribute", "start"});
  const AttributePath path(bound.value(0, Value::none()));
  Value sum = bound.value(1, Value(0));
  if (sum.is_string()) raise("TypeError: sum() can't sum strings [use ''.join(seq) instead]");
  Iterator at(subject);
  for (Value item; at.next(item);) sum = binary(BinaryOperator::kAdd, sum, path.of(item));
  return sum;
}

Value filter_unique(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  const bool case_sensitive = bound.flag(0, false);
  const AttributePath path(bound.value(1, Value::none()));
  std::unordered_multimap<size_t, Value> seen;
  std::vector<Value> out;
  Iterator at(subject);
  for (Value item; at.next(item);) {
    Value key = case_sensitive ? path.of(item) : lower_if_text(path.of(item));
    const size_t key_hash = hash(key);
    const auto [begin, end] = seen.equal_range(key_hash);
    if (std::any_of(begin, end, [&](const auto& other) { return equal(other.second, key); }))
      continue;
    seen.emplace(key_hash, std::move(key));
    out.push_back(item);
  }
  return generator_of(std::move(out));
}

}  // namespace dure::jinja
