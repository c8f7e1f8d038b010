// jinja/value.h: the values of a template: Python's, as far as templates see them.
//
// Owns kinds, equality, order, truth, length, iteration, repr and str. Not here: operators and
// attributes (operators.h), text algorithms (python_string.h), JSON (to_json.cc).
//
// Containers never change once made (the sandbox forbids it), so values share them freely; only a
// namespace, a loop and a generator have state. Each heap object counts its
// bytes against the Budget of the rendering.
#pragma once

#include <compare>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "jinja/budget.h"

namespace dure::jinja {

// Python's integers have no bound; overflow of 128 bits is an error here.
__extension__ typedef __int128 Int;

// In this order: from kString to kRange an index gives an item, from kList to kGenerator it is a
// ListObject.
enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kRange,
  kDictView,
  kGenerator,
  kDict,
  kNamespace,
  kCallable,
};

class Object {
 public:
  explicit Object(Kind kind) : kind(kind) {}
  virtual ~Object() {
    if (charged_bytes_ > 0) Budget::current()->give(charged_bytes_);
  }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  // Counts the bytes as alive until the object goes.
  void charge(int64_t bytes) {
    Budget* budget = Budget::current();
    if (budget == nullptr) return;
    budget->take(bytes);
    charged_bytes_ += bytes;
  }

  const Kind kind;
  // Containers inside it; at most kNestingMax, so that recursion over values is bounded.
  int depth = 0;

 private:
  int64_t charged_bytes_ = 0;
};

struct StringObject;
struct ListObject;
struct DictObject;

class Value {
 public:
  Value() = default;  // Undefined, without a story.
  Value(bool value) : data_(value) {}
  Value(Int value) : data_(value) {}
  Value(int64_t value) : data_(Int{value}) {}
  Value(int value) : data_(Int{value}) {}
  Value(double value) : data_(value) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(std::string text);
  template <typename T>
  requires std::derived_from<T, Object> Value(std::shared_ptr<T> object)
      : data_(std::shared_ptr<Object>(std::move(object))) {}

  static Value none() { return Value(None{}); }
  static Value undefined(std::string message);
  static Value markup(std::string text);  // A string that escape leaves alone.
  static Value list(std::vector<Value> items) { return sequence(Kind::kList, std::move(items)); }
  static Value tuple(std::vector<Value> items) { return sequence(Kind::kTuple, std::move(items)); }
  // `type`: its name in Python, where the kind does not say it.
  static Value sequence(Kind kind, std::vector<Value> items, const char* type = nullptr);
  static Value dict(std::vector<std::pair<Value, Value>>
                        items);  // Later of equal keys wins, in the first one's place.
  static Value from_json(const Json& json);

  Kind kind() const {
    static constexpr Kind kinds[] = {Kind::kUndefined, Kind::kNone, Kind::kBool, Kind::kInt,
                                     Kind::kFloat};
    return data_.index() < 5 ? kinds[data_.index()]
                             : std::get<std::shared_ptr<Object>>(data_)->kind;
  }
  bool is_undefined() const { return kind() == Kind::kUndefined; }
  bool is_none() const { return data_.index() == 1; }
  bool is_bool() const { return data_.index() == 2; }
  bool is_int() const { return data_.index() == 3; }
  bool is_float() const { return data_.index() == 4; }
  bool is_integral() const { return is_int() || is_bool(); }
  bool is_number() const { return is_integral() || is_float(); }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_list() const { return kind() == Kind::kList; }
  bool is_tuple() const { return kind() == Kind::kTuple; }
  bool is_dict() const { return kind() == Kind::kDict; }
  bool is_sequence() const { return kind() >= Kind::kList && kind() <= Kind::kGenerator; }
  // a[0] gives an item.
  bool is_indexed() const { return kind() >= Kind::kString && kind() <= Kind::kRange; }

  // The caller has looked at the kind.
  bool boolean() const { return std::get<bool>(data_); }
  Int integer() const { return is_bool() ? Int{boolean()} : std::get<Int>(data_); }
  double real() const {
    return is_float() ? std::get<double>(data_) : static_cast<double>(integer());
  }
  const std::string& text() const;
  const StringObject& string() const;
  const std::vector<Value>& items() const;  // Of any sequence.
  const DictObject& dict() const;
  Object* object() const {
    const auto* held = std::get_if<std::shared_ptr<Object>>(&data_);
    return held != nullptr ? held->get() : nullptr;
  }
  template <typename T>
  T* as() const {  // nullptr where the object is of another class.
    return dynamic_cast<T*>(object());
  }
  int depth() const { return object() != nullptr ? object()->depth : 0; }

 private:
  struct None {};
  explicit Value(None none) : data_(none) {}
  std::variant<std::monostate, None, bool, Int, double, std::shared_ptr<Object>> data_;
};

struct UndefinedObject : Object {
  explicit UndefinedObject(std::string message)
      : Object(Kind::kUndefined), message(std::move(message)) {}
  std::string message;  // What using it says.
};

struct StringObject : Object {
  explicit StringObject(std::string text);
  std::string text;
  int64_t length = 0;  // Characters.
  bool markup = false;
  bool ascii() const { return length == static_cast<int64_t>(text.size()); }
};

// All sequences; what tells them apart is the kind. kRange and kDictView (of items(), keys(),
// values()) are filled when they are made. A kGenerator, which some filters give, can be walked
// once.
struct ListObject : Object {
  ListObject(Kind kind, std::vector<Value> items, const char* type)
      : Object(kind), items(std::move(items)), type(type) {}
  std::vector<Value> items;
  const char* type;  // Its name in Python.
};

struct DictObject : Object {
  DictObject() : Object(Kind::kDict) {}
  std::vector<std::pair<Value, Value>> items;
  const Value* find(const Value& key) const;  // Throws for an unhashable key.
  const Value* find(std::string_view key) const;
  void set(Value key, Value value);  // While it is being built.

 private:
  template <typename Matches>
  const Value* find_where(size_t key_hash, Matches matches) const;
  std::unordered_multimap<size_t, size_t> index_;  // Hash to place; only for larger dicts.
};

// Variables by name: of a scope, or of a namespace.
class Names {
 public:
  const Value* find(std::string_view name) const;
  bool set(std::string_view name, Value value);  // Whether the name is new.
  void clear() { entries_.clear(); }
  size_t size() const { return entries_.size(); }

 private:
  std::vector<std::pair<std::string, Value>> entries_;
};

struct NamespaceObject : Object {
  NamespaceObject() : Object(Kind::kNamespace) {}
  Names members;
  void set(std::string_view name, Value value);  // Accounts for a new one.
};

class Context;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Functions, methods, macros, loops.
struct CallableObject : Object {
  CallableObject() : Object(Kind::kCallable) {}
  virtual Value call(Context& context, Arguments& arguments) = 0;
  virtual std::string type_name() const = 0;
  virtual std::optional<Value> attribute(const Value& self, std::string_view name) {
    return std::nullopt;
  }
};

// Makes an object, checks its depth, and counts its bytes (`extra_bytes`: what it holds outside
// itself).
template <typename T, typename... Args>
std::shared_ptr<T> make_object(int64_t extra_bytes, Args&&... args) {
  auto object = std::make_shared<T>(std::forward<Args>(args)...);
  if (object->depth > kNestingMax) raise("values nested deeper than {}", kNestingMax);
  object->charge(static_cast<int64_t>(sizeof(T)) + 16 + extra_bytes);
  return object;
}

// Python's name of the type: "str", "NoneType", "dict".
std::string type_name(const Value& value);

[[noreturn]] void raise_undefined(const Value& value);  // What using an undefined value says.

bool truth(const Value& value);
bool equal(const Value& a, const Value& b);
std::partial_ordering compare(const Value& a, const Value& b,
                              const char* operation);  // Throws for kinds without an order.
size_t hash(const Value& value);                       // Throws for lists and dicts.
int64_t length_of(const Value& value);                 // Throws for what has none.
bool contains(const Value& container, const Value& item);

// Python's repr() and str(), and what prints (repr.cc). Throws for what prints as an address.
std::string repr(const Value& value);
std::string str(const Value& value);
std::string repr_of_text(std::string_view text);
std::string int_text(Int value);

// The items of whatever can be walked: characters of a string, keys of a dict. Throws for what
// cannot. A generator is empty afterwards.
std::vector<Value> to_vector(const Value& value);
bool is_iterable(const Value& value);

}  // namespace dure::jinja
