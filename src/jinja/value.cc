// Kinds, equality, order, length and membership, as Python has them.
#include "jinja/value.h"

#include <algorithm>
#include <cmath>

#include "base/python_text.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

int depth_of(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

// Whether a float is a whole number that Int holds, and which.
std::optional<Int> whole(double value) {
  if (!(std::abs(value) < 1e38) || std::floor(value) != value) return std::nullopt;
  return static_cast<Int>(value);
}

std::partial_ordering compare_numbers(const Value& a, const Value& b) {
  if (!a.is_float() && !b.is_float()) return a.integer() <=> b.integer();
  if (a.is_float() && b.is_float()) return a.real() <=> b.real();
  if (b.is_float()) return 0 <=> compare_numbers(b, a);
  // Against an integer, exactly: the whole part first, then what is left.
  const double x = a.real();
  if (!(std::abs(x) < 1e38)) return x <=> 0.0;
  const double floor = std::floor(x);
  const auto by_floor = static_cast<Int>(floor) <=> b.integer();
  return by_floor != 0 ? std::partial_ordering(by_floor) : x <=> floor;
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), equal);
}

bool equal_dicts(const DictObject& a, const DictObject& b) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    const Value* other = b.find(item.first);
    return other != nullptr && equal(item.second, *other);
  });
}

[[noreturn]] void raise_no_order(const Value& a, const Value& b, const char* operation) {
  if (a.is_undefined()) raise_undefined(a);
  if (b.is_undefined()) raise_undefined(b);
  raise("TypeError: '{}' not supported between instances of '{}' and '{}'", operation, type_name(a),
        type_name(b));
}

size_t mix(size_t a, size_t b) { return a ^ (b + 0x9E3779B97F4A7C15ull + (a << 6) + (a >> 2)); }

size_t hash_number(const Value& value) {
  const std::optional<Int> number =
      value.is_float() ? whole(value.real()) : std::optional<Int>(value.integer());
  if (!number.has_value()) return std::hash<double>()(value.real());
  return mix(static_cast<size_t>(*number), static_cast<size_t>(*number >> 64));
}

size_t hash_text(std::string_view text) { return std::hash<std::string_view>()(text); }

}  // namespace

Value::Value(std::string text) {
  const auto bytes = static_cast<int64_t>(text.capacity());
  spend_for_bytes(bytes);
  data_ = std::shared_ptr<Object>(make_object<StringObject>(bytes, std::move(text)));
}

Value Value::undefined(std::string message) {
  return Value(make_object<UndefinedObject>(64, std::move(message)));
}

Value Value::markup(std::string text) {
  Value value(std::move(text));
  static_cast<StringObject*>(value.object())->markup = true;
  return value;
}

Value Value::sequence(Kind kind, std::vector<Value> items, const char* type) {
  const auto bytes = static_cast<int64_t>(items.size() * sizeof(Value));
  spend_for_bytes(bytes);
  const int depth = depth_of(items);
  if (depth > kNestingMax) raise("values nested deeper than {}", kNestingMax);
  if (type == nullptr) type = kind == Kind::kTuple ? "tuple" : "list";
  auto list = make_object<ListObject>(bytes, kind, std::move(items), type);
  list->depth = depth;
  return Value(std::move(list));
}

Value Value::dict(std::vector<std::pair<Value, Value>> items) {
  auto dict = make_object<DictObject>(0);
  for (auto& [key, item] : items) dict->set(std::move(key), std::move(item));
  dict->charge(static_cast<int64_t>(dict->items.size()) * 96);
  spend_steps(static_cast<int64_t>(dict->items.size()));
  if (dict->depth > kNestingMax) raise("values nested deeper than {}", kNestingMax);
  return Value(std::move(dict));
}

Value Value::from_json(const Json& json) {
  switch (json.kind()) {
    case Json::Kind::kNull:
      return none();
    case Json::Kind::kBool:
      return Value(json.as_bool());
    case Json::Kind::kInt:
      return Value(json.as_int());
    case Json::Kind::kDouble:
      return Value(json.as_double());
    case Json::Kind::kString:
      return Value(json.as_string());
    case Json::Kind::kArray: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json.as_array()) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case Json::Kind::kObject:
      break;
  }
  std::vector<std::pair<Value, Value>> items;
  items.reserve(json.size());
  for (const auto& [key, item] : json.as_object()) items.emplace_back(Value(key), from_json(item));
  return dict(std::move(items));
}

const StringObject& Value::string() const { return *static_cast<const StringObject*>(object()); }
const std::string& Value::text() const { return string().text; }
const std::vector<Value>& Value::items() const {
  return static_cast<const ListObject*>(object())->items;
}
const DictObject& Value::dict() const { return *static_cast<const DictObject*>(object()); }

StringObject::StringObject(std::string given)
    : Object(Kind::kString), text(std::move(given)), length(character_count(text)) {}

template <typename Matches>
const Value* DictObject::find_where(size_t key_hash, Matches matches) const {
  if (index_.empty()) {
    const auto found = std::find_if(items.begin(), items.end(),
                                    [&](const auto& item) { return matches(item.first); });
    return found != items.end() ? &found->second : nullptr;
  }
  const auto [begin, end] = index_.equal_range(key_hash);
  for (auto at = begin; at != end; ++at) {
    if (matches(items[at->second].first)) return &items[at->second].second;
  }
  return nullptr;
}

const Value* DictObject::find(const Value& key) const {
  return find_where(hash(key), [&](const Value& other) { return equal(other, key); });
}

const Value* DictObject::find(std::string_view key) const {
  return find_where(hash_text(key),
                    [&](const Value& other) { return other.is_string() && other.text() == key; });
}

void DictObject::set(Value key, Value value) {
  constexpr size_t kScanned = 12;  // Up to here a scan is faster than an index.
  depth = std::max({depth, key.depth() + 1, value.depth() + 1});
  const size_t key_hash = hash(key);
  if (const Value* found = find(key)) {
    *const_cast<Value*>(found) = std::move(value);
    return;
  }
  items.emplace_back(std::move(key), std::move(value));
  if (items.size() == kScanned) {
    for (size_t i = 0; i < items.size(); ++i) index_.emplace(hash(items[i].first), i);
  } else if (items.size() > kScanned) {
    index_.emplace(key_hash, items.size() - 1);
  }
}

const Value* Names::find(std::string_view name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  return found != entries_.end() ? &found->second : nullptr;
}

bool Names::set(std::string_view name, Value value) {
  if (const Value* found = find(name)) {
    *const_cast<Value*>(found) = std::move(value);
    return false;
  }
  entries_.emplace_back(std::string(name), std::move(value));
  return true;
}

void NamespaceObject::set(std::string_view name, Value value) {
  if (!members.set(name, std::move(value))) return;
  spend_steps(static_cast<int64_t>(members.size()));
  charge(96 + static_cast<int64_t>(name.size()));
}

std::string type_name(const Value& value) {
  static constexpr const char* kNames[] = {"Undefined", "NoneType", "bool", "int", "float"};
  if (value.is_sequence()) return value.as<ListObject>()->type;
  switch (value.kind()) {
    case Kind::kString:
      return value.string().markup ? "Markup" : "str";
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kCallable:
      return value.as<CallableObject>()->type_name();
    default:
      return kNames[static_cast<int>(value.kind())];
  }
}

void raise_undefined(const Value& value) {
  const auto* undefined = value.as<UndefinedObject>();
  if (undefined == nullptr) raise("an undefined value was used");
  throw TemplateError(undefined->message);
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kBool:
      return value.boolean();
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.real() != 0;
    case Kind::kGenerator:
    case Kind::kNamespace:
    case Kind::kCallable:
      return true;
    default:
      return !value.is_none() && length_of(value) > 0;
  }
}

bool equal(const Value& a, const Value& b) {
  spend_steps(1);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
      return a.object() == b.object() || equal_items(a.items(), b.items());
    case Kind::kDict:
      return a.object() == b.object() || equal_dicts(a.dict(), b.dict());
    default:
      return a.object() == b.object();
  }
}

std::partial_ordering compare(const Value& a, const Value& b, const char* operation) {
  spend_steps(1);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.is_string() && b.is_string()) return a.text().compare(b.text()) <=> 0;
  if (a.kind() != b.kind() || !(a.is_list() || a.is_tuple())) raise_no_order(a, b, operation);
  const auto &x = a.items(), &y = b.items();
  for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
    if (!equal(x[i], y[i])) return compare(x[i], y[i], operation);
  }
  return x.size() <=> y.size();
}

size_t hash(const Value& value) {
  spend_steps(1);
  if (value.is_number()) return hash_number(value);
  if (value.is_string()) return hash_text(value.text());
  if (value.is_tuple()) {
    size_t sum = 3;
    for (const Value& item : value.items()) sum = mix(sum, hash(item));
    return sum;
  }
  if (value.is_sequence() || value.is_dict())
    raise("TypeError: unhashable type: '{}'", type_name(value));
  return value.is_undefined() ? 2 : std::hash<const void*>()(value.object());
}

int64_t length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) return value.string().length;
  if (value.is_dict()) return static_cast<int64_t>(value.dict().items.size());
  if (value.is_sequence() && value.kind() != Kind::kGenerator)
    return static_cast<int64_t>(value.items().size());
  raise("TypeError: object of type '{}' has no len()", type_name(value));
}

bool contains(const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      raise("TypeError: 'in <string>' requires string as left operand, not {}", type_name(item));
    }
    spend_for_bytes(static_cast<int64_t>(container.text().size()));
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.is_dict()) return container.dict().find(item) != nullptr;
  if (container.is_sequence() && container.kind() != Kind::kGenerator) {
    return std::any_of(container.items().begin(), container.items().end(),
                       [&](const Value& one) { return equal(one, item); });
  }
  if (!is_iterable(container))
    raise("TypeError: argument of type '{}' is not iterable", type_name(container));
  const std::vector<Value> rest = to_vector(container);
  return std::any_of(rest.begin(), rest.end(), [&](const Value& one) { return equal(one, item); });
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_sequence() || value.is_dict();
}

std::vector<Value> to_vector(const Value& value) {
  if (!is_iterable(value)) raise("TypeError: '{}' object is not iterable", type_name(value));
  if (value.kind() == Kind::kGenerator) return std::exchange(value.as<ListObject>()->items, {});
  std::vector<Value> out;
  if (value.is_sequence()) {
    out = value.items();
  } else if (value.is_dict()) {
    for (const auto& [key, item] : value.dict().items) out.push_back(key);
  } else if (value.is_string()) {
    const std::string& text = value.text();
    check_size(value.string().length * static_cast<int64_t>(sizeof(Value)));
    for (size_t at = 0, start = 0; start < text.size(); start = at) {
      next_code_point(text, at);
      out.emplace_back(text.substr(start, at - start));
    }
  }
  spend_steps(static_cast<int64_t>(out.size()));
  return out;
}

}  // namespace dure::jinja
