// Reads NAME=PATH; a path or an address alone has a name too.
#include "cli/named_path.h"

#include "base/error.h"
#include "base/file.h"
#include "client/web_address.h"

namespace dure {
namespace {

NamedPath split(const std::string& given) {
  const size_t equals = given.find('=');
  if (equals != std::string::npos && equals < given.find('/'))
    return {given.substr(0, equals), given.substr(equals + 1)};
  // An address's name is its host and port: its path is the API's.
  if (is_web_address(given)) return {parse_web_address(given).host_text(), given};
  Path path(given);
  if (path.filename().empty()) path = path.parent_path();
  const std::string last = path.filename().string();
  const bool says_nothing = last == "model" || last == "adapter";
  return {says_nothing && path.has_parent_path() ? path.parent_path().filename().string() : last,
          given};
}

}  // namespace

NamedPath named_path(const std::string& given, const char* what) {
  NamedPath out = split(given);
  if (out.name.empty() || out.path.empty())
    fail(ErrorCode::kInvalidArgument, "{} '{}': {} is empty: give NAME=PATH, or PATH alone", what,
         given, out.name.empty() ? "its name (before the '=')" : "its path (behind the '=')");
  return out;
}

std::vector<NamedPath> named_paths(const std::vector<std::string>& given, const char* what) {
  std::vector<NamedPath> out;
  for (const std::string& one : given) {
    NamedPath next = named_path(one, what);
    for (const NamedPath& earlier : out) {
      if (earlier.name == next.name)
        fail(ErrorCode::kInvalidArgument,
             "'{}': another {} is named '{}' already: give each a name of its own, as NAME=PATH",
             one, what, next.name);
    }
    out.push_back(std::move(next));
  }
  return out;
}

}  // namespace dure
