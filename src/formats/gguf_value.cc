// Values and metadata of gguf.h.
#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "formats/gguf.h"

namespace dure {
namespace {

bool is_integer(GgufType type) {
  return type != GgufType::kF32 && type != GgufType::kF64 && type != GgufType::kBool &&
         type != GgufType::kString && type != GgufType::kArray;
}
bool is_float(GgufType type) { return type == GgufType::kF32 || type == GgufType::kF64; }

[[noreturn]] void wrong(std::string_view what, const char* wanted, const GgufValue& got) {
  fail(ErrorCode::kInvalidArgument, "{} should be {}, not {}{}", what, wanted,
       got.is_array() ? "a list of " : "", gguf_type_name(got.element()));
}

// The double that a person would write for this float.
double shortest(float value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  double out = static_cast<double>(value);
  std::from_chars(buffer, end, out);
  return out;
}

}  // namespace

const char* gguf_type_name(GgufType type) {
  static const char* names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                "bool", "string", "array", "u64", "i64", "f64"};
  return names[static_cast<size_t>(type)];
}

GgufValue GgufValue::of_int(GgufType type, int64_t value) {
  DURE_CHECK(is_integer(type), "{}", gguf_type_name(type));
  GgufValue out = ints(type, {value});
  out.array_ = false;
  return out;
}
GgufValue GgufValue::f32(double value) {
  GgufValue out = floats(GgufType::kF32, {value});
  out.array_ = false;
  return out;
}
GgufValue GgufValue::f64(double value) {
  GgufValue out = floats(GgufType::kF64, {value});
  out.array_ = false;
  return out;
}
GgufValue GgufValue::boolean(bool value) {
  GgufValue out = ints(GgufType::kBool, {value ? 1 : 0});
  out.array_ = false;
  return out;
}
GgufValue GgufValue::string(std::string value) {
  GgufValue out = strings({std::move(value)});
  out.array_ = false;
  return out;
}
GgufValue GgufValue::ints(GgufType element, std::vector<int64_t> values) {
  DURE_CHECK(is_integer(element) || element == GgufType::kBool, "{}", gguf_type_name(element));
  GgufValue out;
  out.element_ = element;
  out.array_ = true;
  out.ints_ = std::move(values);
  return out;
}
GgufValue GgufValue::floats(GgufType element, std::vector<double> values) {
  DURE_CHECK(is_float(element), "{}", gguf_type_name(element));
  GgufValue out;
  out.element_ = element;
  out.array_ = true;
  out.floats_ = std::move(values);
  if (element == GgufType::kF32) {
    for (double& value : out.floats_) value = static_cast<double>(static_cast<float>(value));
  }
  return out;
}
GgufValue GgufValue::strings(std::vector<std::string> values) {
  GgufValue out;
  out.element_ = GgufType::kString;
  out.array_ = true;
  out.strings_ = std::move(values);
  return out;
}

size_t GgufValue::size() const { return ints_.size() + floats_.size() + strings_.size(); }

int64_t GgufValue::as_int(std::string_view what) const {
  if (array_ || !is_integer(element_)) wrong(what, "an integer", *this);
  return ints_[0];
}
double GgufValue::as_double(std::string_view what) const {
  if (!array_ && is_integer(element_)) return static_cast<double>(ints_[0]);
  if (array_ || !is_float(element_)) wrong(what, "a number", *this);
  return element_ == GgufType::kF32 ? shortest(static_cast<float>(floats_[0])) : floats_[0];
}
bool GgufValue::as_bool(std::string_view what) const {
  if (array_ || element_ != GgufType::kBool) wrong(what, "a bool", *this);
  return ints_[0] != 0;
}
const std::string& GgufValue::as_string(std::string_view what) const {
  if (array_ || element_ != GgufType::kString) wrong(what, "a string", *this);
  return strings_[0];
}
const std::vector<int64_t>& GgufValue::as_ints(std::string_view what) const {
  if (!array_ || is_float(element_) || element_ == GgufType::kString)
    wrong(what, "a list of integers or bools", *this);
  return ints_;
}
const std::vector<double>& GgufValue::as_doubles(std::string_view what) const {
  if (!array_ || !is_float(element_)) wrong(what, "a list of numbers", *this);
  return floats_;
}
const std::vector<std::string>& GgufValue::as_strings(std::string_view what) const {
  if (!array_ || element_ != GgufType::kString) wrong(what, "a list of strings", *this);
  return strings_;
}

std::string GgufValue::text(size_t entries_max) const {
  const auto one = [&](size_t i) -> std::string {
    if (element_ == GgufType::kString)
      return json_quote(strings_[i].size() > 60 ? strings_[i].substr(0, 60) + "..." : strings_[i]);
    if (is_float(element_))
      return shortest_double(element_ == GgufType::kF32 ? shortest(static_cast<float>(floats_[i]))
                                                        : floats_[i]);
    return element_ == GgufType::kBool ? (ints_[i] != 0 ? "true" : "false")
                                       : std::to_string(ints_[i]);
  };
  if (!array_) return one(0);
  std::string out = fmt::format("{} x {}: ", size(), gguf_type_name(element_));
  for (size_t i = 0; i < std::min(size(), entries_max); ++i) out += (i == 0 ? "" : ", ") + one(i);
  return size() > entries_max ? out + ", ..." : out;
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.first == key; });
  return found == entries_.end() ? nullptr : &found->second;
}
const GgufValue& GgufMetadata::at(std::string_view key) const {
  if (const GgufValue* found = find(key)) return *found;
  fail(ErrorCode::kNotFound, "no key '{}' in the metadata", key);
}
void GgufMetadata::set(const std::string& key, GgufValue value) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.first == key; });
  if (found != entries_.end())
    found->second = std::move(value);
  else
    entries_.emplace_back(key, std::move(value));
}
void GgufMetadata::erase(std::string_view key) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.first == key; });
}

}  // namespace dure
