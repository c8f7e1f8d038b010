// server/api_fields.h: the fields of a JSON body, read by name, each fault naming its field.
//
// Null counts as absent. What is read is noted; unknown() names the rest, for one warning in the
// log: clients send fields of servers they knew before. Not here: what the fields mean.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/api_error.h"

namespace dure {

// The bounds of a number, both included unless `open_low`.
struct FieldRange {
  double low, high;
  bool open_low = false;
};

class ApiFields {
 public:
  // `path`: dotted, of the object; empty for the body. Throws ApiError where it is no object.
  ApiFields(const Json& object, std::string path);

  const Json* find(const char* name);  // null where absent or null
  std::optional<bool> boolean(const char* name);
  std::optional<double> number(const char* name);
  std::optional<double> number(const char* name, FieldRange range);
  std::optional<int64_t> integer(const char* name);
  std::optional<int64_t> integer(const char* name, FieldRange range);
  std::optional<std::string> string(const char* name);
  // One of `choices`.
  std::optional<std::string> choice(const char* name, const std::vector<const char*>& choices);
  const Json* object(const char* name);
  const Json* array(const char* name);
  void ignore(const std::vector<const char*>& names);  // Known, and without effect here.

  std::string path(const std::string& name) const;
  std::vector<std::string> unknown() const;

 private:
  const Json& object_;
  std::string path_;
  std::set<std::string, std::less<>> known_;
};

// "a string", "a list", ...: what `value` should have been.
[[nodiscard]] ApiError wrong_kind(const std::string& path, const char* wanted, const Json& value);

// What a client sent, as a line of a log may hold it: cut, nothing but printable ASCII.
std::string printable(std::string_view text, size_t size_max);

// A body of JSON: an object. Throws ApiError (400).
Json parse_body(const std::string& body);

}  // namespace dure
