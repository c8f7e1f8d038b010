#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/python_string.h"
#include "text/python_text.h"

namespace dure::jinja {
namespace {

int depth_of(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

Value make_list(Kind kind, std::vector<Value> items) {
  const auto bytes = static_cast<int64_t>(items.size() * sizeof(Value));
  spend_for_bytes(bytes);
  const int depth = depth_of(items);
  auto list = make_object<ListObject>(bytes, kind, std::move(items));
  list->depth = depth;
  if (depth > kNestingMax) raise("values nested deeper than {}", kNestingMax);
  return Value(std::shared_ptr<Object>(std::move(list)));
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

bool equal_ranges(const RangeObject& a, const RangeObject& b) {
  const int64_t size = a.size();
  return size == b.size() && (size == 0 || (a.start == b.start && (size == 1 || a.step == b.step)));
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

Value Value::undefined(std::string message, ErrorCode code) {
  return Value(std::shared_ptr<Object>(make_object<UndefinedObject>(64, std::move(message), code)));
}

Value Value::markup(std::string text) {
  Value value(std::move(text));
  static_cast<StringObject*>(value.object())->markup = true;
  return value;
}

Value Value::list(std::vector<Value> items) { return make_list(Kind::kList, std::move(items)); }
Value Value::tuple(std::vector<Value> items) { return make_list(Kind::kTuple, std::move(items)); }

Value Value::dict(std::vector<std::pair<Value, Value>> items) {
  auto dict = make_object<DictObject>(0);
  for (auto& [key, item] : items) dict->set(std::move(key), std::move(item));
  dict->charge(static_cast<int64_t>(dict->items.size()) * 96);
  spend_steps(static_cast<int64_t>(dict->items.size()));
  if (dict->depth > kNestingMax) raise("values nested deeper than {}", kNestingMax);
  return Value(std::shared_ptr<Object>(std::move(dict)));
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

const Value* DictObject::find(const Value& key) const {
  if (key.is_string()) return find(std::string_view(key.text()));
  const size_t wanted = hash(key);
  if (index_.empty()) {
    for (const auto& item : items) {
      if (equal(item.first, key)) return &item.second;
    }
    return nullptr;
  }
  const auto [begin, end] = index_.equal_range(wanted);
  for (auto at = begin; at != end; ++at) {
    if (equal(items[at->second].first, key)) return &items[at->second].second;
  }
  return nullptr;
}

const Value* DictObject::find(std::string_view key) const {
  const auto matches = [&](const auto& item) {
    return item.first.is_string() && item.first.text() == key;
  };
  if (index_.empty()) {
    const auto found = std::find_if(items.begin(), items.end(), matches);
    return found != items.end() ? &found->second : nullptr;
  }
  const auto [begin, end] = index_.equal_range(hash_text(key));
  for (auto at = begin; at != end; ++at) {
    if (matches(items[at->second])) return &items[at->second].second;
  }
  return nullptr;
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

int64_t RangeObject::size() const {
  const Int span = step > 0 ? stop - start : start - stop, stride = step > 0 ? step : -step;
  return span <= 0 ? 0 : static_cast<int64_t>((span - 1) / stride + 1);
}

Value DictViewObject::at(size_t i) const {
  const auto& [key, item] = dict.dict().items[i];
  if (part == Part::kKeys) return key;
  if (part == Part::kValues) return item;
  return Value::tuple({key, item});
}

const Value* NamespaceObject::find(std::string_view name) const {
  for (const auto& member : members) {
    if (member.first == name) return &member.second;
  }
  return nullptr;
}

void NamespaceObject::set(std::string_view name, Value value) {
  for (auto& member : members) {
    if (member.first == name) {
      member.second = std::move(value);
      return;
    }
  }
  spend_steps(static_cast<int64_t>(members.size()));
  charge(96 + static_cast<int64_t>(name.size()));
  members.emplace_back(std::string(name), std::move(value));
}

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.string().markup ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kDictView: {
      const char* names[] = {"dict_keys", "dict_values", "dict_items"};
      return names[static_cast<int>(value.as<DictViewObject>()->part)];
    }
    case Kind::kGenerator:
      return value.as<GeneratorObject>()->name;
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kCallable:
    case Kind::kObject:
      return value.as<CallableObject>()->type_name();
  }
  return "object";
}

void raise_undefined(const Value& value) {
  const auto* undefined = value.as<UndefinedObject>();
  if (undefined == nullptr) raise("an undefined value was used");
  throw TemplateError(undefined->message, undefined->code);
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.boolean();
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.real() != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return !value.dict().items.empty();
    case Kind::kRange:
      return value.as<RangeObject>()->size() > 0;
    case Kind::kDictView:
      return truth(value.as<DictViewObject>()->dict);
    default:
      return true;
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
      return a.object() == b.object() || equal_items(a.items(), b.items());
    case Kind::kDict:
      return a.object() == b.object() || equal_dicts(a.dict(), b.dict());
    case Kind::kRange:
      return equal_ranges(*a.as<RangeObject>(), *b.as<RangeObject>());
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
  switch (value.kind()) {
    case Kind::kNone:
      return 1;
    case Kind::kUndefined:
      return 2;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return hash_number(value);
    case Kind::kString:
      return hash_text(value.text());
    case Kind::kTuple: {
      size_t sum = 3;
      for (const Value& item : value.items()) sum = mix(sum, hash(item));
      return sum;
    }
    case Kind::kList:
    case Kind::kDict:
    case Kind::kDictView:
      raise("TypeError: unhashable type: '{}'", type_name(value));
    case Kind::kRange:
      return 4;
    default:
      return std::hash<const void*>()(value.object());
  }
}

int64_t length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return value.string().length;
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.dict().items.size());
    case Kind::kRange:
      return value.as<RangeObject>()->size();
    case Kind::kDictView:
      return length_of(value.as<DictViewObject>()->dict);
    default:
      raise("TypeError: object of type '{}' has no len()", type_name(value));
  }
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
  if (!is_iterable(container))
    raise("TypeError: argument of type '{}' is not iterable", type_name(container));
  Iterator at(container);
  for (Value candidate; at.next(candidate);) {
    if (equal(candidate, item)) return true;
  }
  return false;
}

bool is_iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
    case Kind::kNamespace:
    case Kind::kCallable:
    case Kind::kObject:
      return false;
    default:
      return true;
  }
}

Iterator::Iterator(Value value) : value_(std::move(value)) {
  if (!is_iterable(value_)) raise("TypeError: '{}' object is not iterable", type_name(value_));
}

bool Iterator::next(Value& item) {
  spend_steps(1);
  switch (value_.kind()) {
    case Kind::kString: {
      const std::string& text = value_.text();
      if (at_ >= text.size()) return false;
      const size_t start = at_;
      next_code_point(text, at_);
      item = Value(text.substr(start, at_ - start));
      return true;
    }
    case Kind::kList:
    case Kind::kTuple:
      if (at_ >= value_.items().size()) return false;
      item = value_.items()[at_++];
      return true;
    case Kind::kDict:
      if (at_ >= value_.dict().items.size()) return false;
      item = value_.dict().items[at_++].first;
      return true;
    case Kind::kRange: {
      const auto* range = static_cast<RangeObject*>(value_.object());
      if (static_cast<int64_t>(at_) >= range->size()) return false;
      item = Value(range->at(static_cast<int64_t>(at_++)));
      return true;
    }
    case Kind::kDictView: {
      const auto* view = static_cast<DictViewObject*>(value_.object());
      if (at_ >= view->dict.dict().items.size()) return false;
      item = view->at(at_++);
      return true;
    }
    case Kind::kGenerator: {
      std::optional<Value> yielded = static_cast<GeneratorObject*>(value_.object())->next();
      if (yielded.has_value()) item = std::move(*yielded);
      return yielded.has_value();
    }
    default:
      return false;
  }
}

std::vector<Value> to_vector(const Value& value) {
  if (value.is_list() || value.is_tuple()) {
    spend_for_bytes(static_cast<int64_t>(value.items().size() * sizeof(Value)));
    return value.items();
  }
  std::vector<Value> out;
  Iterator at(value);
  for (Value item; at.next(item);) {
    out.push_back(item);
    if (out.size() % 4096 == 0) check_size(static_cast<int64_t>(out.size() * sizeof(Value)));
  }
  return out;
}

}  // namespace dure::jinja
