// base/json.h: a JSON value: configuration, small files, messages. Large corpora go through
// simdjson (data/).
//
// Objects keep the order of their keys. Integers that fit stay integers (int64), other numbers are
// doubles. Parsing is nlohmann-json's, hidden in json.cc because its header costs six seconds a
// file. YAML (yaml-cpp) reads into the same value. Errors name the source, the line and column, or
// the field.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/file.h"

namespace dure {

class Json {
 public:
  enum class Kind { kNull, kBool, kInt, kDouble, kString, kArray, kObject };
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(int64_t{value}) {}
  Json(int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}
  template <typename T>
  static Json array_of(const T& items) {
    Array out;
    for (const auto& item : items) out.emplace_back(item);
    return out;
  }
  static Json object() { return Json(Object{}); }
  static Json array() { return Json(Array{}); }

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  // "null", "a boolean", "an integer", "a number", "a string", "a list", "an object"
  const char* kind_name() const;
  bool is_null() const { return kind() == Kind::kNull; }
  bool is_bool() const { return kind() == Kind::kBool; }
  bool is_int() const { return kind() == Kind::kInt; }
  bool is_number() const { return kind() == Kind::kInt || kind() == Kind::kDouble; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_array() const { return kind() == Kind::kArray; }
  bool is_object() const { return kind() == Kind::kObject; }

  // Throw Error kInvalidArgument saying `what` should have been, where the kind differs. A double
  // with a whole value is an integer too; an integer is a number.
  bool as_bool(std::string_view what = "value") const;
  int64_t as_int(std::string_view what = "value") const;
  double as_double(std::string_view what = "value") const;
  const std::string& as_string(std::string_view what = "value") const;
  const Array& as_array(std::string_view what = "value") const;
  const Object& as_object(std::string_view what = "value") const;
  Array& as_array(std::string_view what = "value");
  Object& as_object(std::string_view what = "value");

  size_t size() const;                           // Members or items; 0 otherwise.
  const Json* find(std::string_view key) const;  // nullptr where absent or not an object.
  const Json& at(std::string_view key) const;    // Throws kNotFound naming the key.
  const Json& at(size_t index) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  Json& operator[](std::string_view key);  // Object: finds or appends. A null becomes an object.
  void push_back(Json item);               // Array. A null becomes an array.

  std::string dump(
      int indent = -1) const;  // Compact, or indented by `indent` spaces. UTF-8 as it is.
  bool operator==(const Json&) const = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

// `source` names the text in errors (a path, "--json argument"). Depth is limited to 256.
Json parse_json(std::string_view text, std::string_view source);
Json load_json(const Path& path);
Json parse_yaml(std::string_view text, std::string_view source);
Json load_yaml(const Path& path);
std::string json_quote(std::string_view text);  // With the quotes; invalid UTF-8 becomes U+FFFD.
std::string shortest_double(double value);  // Shortest decimal that reads back to the same double,
                                            // as JSON ("1.0", "1e-05").

}  // namespace dure
