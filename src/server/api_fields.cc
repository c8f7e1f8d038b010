// One function a kind; each refusal says the path, what was wanted and what came.
#include "server/api_fields.h"

#include <cmath>

namespace dure {
namespace {

// The value as a message may repeat it.
std::string shown(const Json& value) {
  std::string text = value.dump();
  if (text.size() > 60) text = std::string(value.kind_name());
  return text;
}

void check_range(const std::string& path, double value, const FieldRange& range,
                 const Json& given) {
  const bool low = range.open_low ? value > range.low : value >= range.low;
  if (low && value <= range.high) return;
  const std::string high = std::isinf(range.high) ? "" : fmt::format(" and at most {}", range.high);
  throw bad_field(
      path, fmt::format("{} should be {} {}{}, got {}", path, range.open_low ? "above" : "at least",
                        range.low, high, shown(given)));
}

}  // namespace

ApiError wrong_kind(const std::string& path, const char* wanted, const Json& value) {
  return bad_field(path, fmt::format("{} should be {}, got {}", path, wanted, shown(value)));
}

std::string printable(std::string_view text, size_t size_max) {
  std::string out(text.substr(0, size_max));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

Json parse_body(const std::string& body) {
  Json out;
  try {
    out = parse_json(body, "the request's body");
  } catch (const Error& error) {
    throw bad_field("", error.what());
  }
  if (!out.is_object()) {
    throw bad_field(
        "", fmt::format("the request's body should be a JSON object, got {}", out.kind_name()));
  }
  return out;
}

ApiFields::ApiFields(const Json& object, std::string path)
    : object_(object), path_(std::move(path)) {
  if (!object.is_object()) throw wrong_kind(path_, "an object", object);
}

std::string ApiFields::path(const std::string& name) const {
  return path_.empty() ? name : path_ + "." + name;
}

const Json* ApiFields::find(const char* name) {
  known_.insert(name);
  const Json* value = object_.find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<bool> ApiFields::boolean(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) throw wrong_kind(path(name), "true or false", *value);
  return value->as_bool();
}

std::optional<double> ApiFields::number(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !std::isfinite(value->as_double()))
    throw wrong_kind(path(name), "a number", *value);
  return value->as_double();
}

std::optional<double> ApiFields::number(const char* name, FieldRange range) {
  const std::optional<double> value = number(name);
  if (value) check_range(path(name), *value, range, *object_.find(name));
  return value;
}

std::optional<int64_t> ApiFields::integer(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  try {
    return value->as_int();
  } catch (const Error&) {
    throw wrong_kind(path(name), "an integer", *value);
  }
}

std::optional<int64_t> ApiFields::integer(const char* name, FieldRange range) {
  const std::optional<int64_t> value = integer(name);
  if (value) check_range(path(name), static_cast<double>(*value), range, *object_.find(name));
  return value;
}

std::optional<std::string> ApiFields::string(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) throw wrong_kind(path(name), "a string", *value);
  return value->as_string();
}

std::optional<std::string> ApiFields::choice(const char* name,
                                             const std::vector<const char*>& choices) {
  std::optional<std::string> value = string(name);
  if (!value) return value;
  std::string all;
  for (const char* choice : choices) {
    if (*value == choice) return value;
    all += (all.empty() ? "" : ", ") + std::string(choice);
  }
  throw bad_field(path(name), fmt::format("{} should be one of {}; got {}", path(name), all,
                                          shown(*object_.find(name))));
}

const Json* ApiFields::object(const char* name) {
  const Json* value = find(name);
  if (value != nullptr && !value->is_object()) throw wrong_kind(path(name), "an object", *value);
  return value;
}

const Json* ApiFields::array(const char* name) {
  const Json* value = find(name);
  if (value != nullptr && !value->is_array()) throw wrong_kind(path(name), "a list", *value);
  return value;
}

void ApiFields::ignore(const std::vector<const char*>& names) {
  for (const char* name : names) known_.insert(name);
}

std::vector<std::string> ApiFields::unknown() const {
  std::vector<std::string> out;
  for (const auto& [name, value] : object_.as_object()) {
    if (!known_.contains(name)) out.push_back(path(name));
  }
  return out;
}

}  // namespace dure
