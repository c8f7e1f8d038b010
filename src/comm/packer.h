// comm/packer.h: values as bytes for another rank, and back: numbers as they lie in memory, so that
// they keep their bits, everything else with its length before it.
//
// Ranks are of one build (ranks.h), so the bytes say nothing about their form. Not here: what
// outlives the program (formats/), how bytes travel (group.h).
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/json.h"

namespace dure {

class Packer {
 public:
  template <typename T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void list(const std::vector<T>& values) {
    number(std::ssize(values));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void text(std::string_view value) {
    number(std::ssize(value));
    bytes_.append(value);
  }
  void json(const Json& value) { text(value.is_null() ? "" : value.dump()); }

  const std::string& bytes() const { return bytes_; }
  // What was packed; nothing is afterwards.
  std::string take() { return std::exchange(bytes_, {}); }

 private:
  std::string bytes_;
};

// Reads in the order of writing. Checked: nothing is read behind the end.
class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  template <typename T>
  std::vector<T> list() {
    std::vector<T> values(static_cast<size_t>(number<std::ptrdiff_t>()));
    const size_t size = values.size() * sizeof(T);
    if (size > 0) std::memcpy(values.data(), take(size), size);
    return values;
  }
  std::string text() {
    const auto size = static_cast<size_t>(number<std::ptrdiff_t>());
    return {take(size), size};
  }
  Json json() {
    const std::string value = text();
    return value.empty() ? Json() : parse_json(value, "another rank's value");
  }
  bool empty() const { return rest_.empty(); }

 private:
  const char* take(size_t size) {
    DURE_CHECK(size <= rest_.size(), "{} bytes of {}", size, rest_.size());
    const char* at = rest_.data();
    rest_.remove_prefix(size);
    return at;
  }
  std::string_view rest_;
};

}  // namespace dure
