// A walk over the JSON of a specification.
#include "grade/program_files.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace dure {
namespace {

constexpr int64_t kReadMax = int64_t{64} << 20;  // of larger ones (data, weights) the size stands

// A program that is looked for in PATH is no file of the user's.
bool names_file(const std::string& argument, size_t place) {
  if (argument.empty() || (place == 0 && argument.find('/') == std::string::npos)) return false;
  std::error_code ignored;
  return std::filesystem::is_regular_file(argument, ignored);
}

Json file_mark(const Path& path) {
  try {
    const int64_t size = dure::file_size(path);
    if (size > kReadMax) return fmt::format("{} bytes", size);
    return fmt::format("{:016x}", xxh64(read_file(path)));
  } catch (const Error&) {
    return "unreadable";
  }
}

void add_of_command(const Json& command, Json& files) {
  if (!command.is_array()) return;
  for (size_t i = 0; i < command.size(); ++i) {
    const Json& argument = command.at(i);
    if (argument.is_string() && names_file(argument.as_string(), i))
      files[argument.as_string()] = file_mark(argument.as_string());
  }
}

bool only_of_running(std::string_view field) {
  constexpr std::array kFields = {"workers", "timeout_s", "start_s", "on_failure",
                                  "failure_reward"};
  return std::ranges::find(kFields, field) != kFields.end();
}

}  // namespace

void add_program_files(const Json& spec, Json& files) {
  if (spec.is_array()) {
    for (const Json& one : spec.as_array()) add_program_files(one, files);
  }
  if (!spec.is_object()) return;
  for (const auto& [name, value] : spec.as_object()) {
    if (name == "command") add_of_command(value, files);
    add_program_files(value, files);
  }
}

Json program_files(const Json& spec) {
  Json out;
  add_program_files(spec, out);
  return out;
}

Json program_identity(const Json& spec) {
  if (!spec.is_object()) return spec;
  const bool program = spec.contains("command") || spec.contains("url");
  Json out = Json::object();
  for (const auto& [name, value] : spec.as_object()) {
    if (program && only_of_running(name)) continue;
    out[name] = program_identity(value);
  }
  return out;
}

}  // namespace dure
