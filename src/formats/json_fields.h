// formats/json_fields.h: the fields of one JSON object as a Hugging Face file means them: null is
// absent, a value of another kind is refused by name, and what was asked for is remembered.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace dure {

// `where` names the file in errors. Every reader throws kInvalidArgument naming file and field.
class JsonFields {
 public:
  JsonFields(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    json.as_object(where_);
  }

  const Json* find(const char* name) {
    known_.insert(name);
    const Json* value = json_.find(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  bool says(const char* name) const { return json_.find(name) != nullptr; }  // Also null.
  std::string place(const char* name) const { return where_ + ": " + name; }
  const std::string& where() const { return where_; }
  const std::set<std::string>& known() const { return known_; }

  std::optional<int64_t> integer(const char* name) {
    const Json* value = find(name);
    return value == nullptr ? std::nullopt : std::optional(value->as_int(place(name)));
  }
  std::optional<double> number(const char* name) {
    const Json* value = find(name);
    return value == nullptr ? std::nullopt : std::optional(value->as_double(place(name)));
  }
  std::optional<std::string> text(const char* name) {
    const Json* value = find(name);
    return value == nullptr ? std::nullopt : std::optional(value->as_string(place(name)));
  }
  std::optional<bool> boolean(const char* name) {
    const Json* value = find(name);
    return value == nullptr ? std::nullopt : std::optional(value->as_bool(place(name)));
  }
  // One or a list of them; empty where there is none.
  std::vector<int64_t> integers(const char* name) {
    std::vector<int64_t> out;
    const Json* value = find(name);
    if (value == nullptr) return out;
    if (!value->is_array()) return {value->as_int(place(name))};
    for (const Json& item : value->as_array()) out.push_back(item.as_int(place(name)));
    return out;
  }
  int64_t needed(const char* name) {
    if (const auto value = integer(name)) return *value;
    fail(ErrorCode::kInvalidArgument, "{}: {} is missing", where_, name);
  }
  // A list with one entry a layer.
  const Json::Array* list(const char* name, int64_t count) {
    const Json* value = find(name);
    if (value == nullptr) return nullptr;
    const Json::Array& items = value->as_array(place(name));
    if (static_cast<int64_t>(items.size()) != count) {
      fail(ErrorCode::kInvalidArgument, "{}: {} has {} entries, there are {} layers", where_, name,
           items.size(), count);
    }
    return &items;
  }

 private:
  const Json& json_;
  std::string where_;
  std::set<std::string> known_;
};

}  // namespace dure
