// Fields by their dotted names.
#include "rl/idle_settings.h"

#include <fmt/format.h>

namespace dure {
namespace {

const Json& value_of(const Json& config, const std::string& name) {
  const size_t dot = name.find('.');
  return config.at(name.substr(0, dot)).at(name.substr(dot + 1));
}

}  // namespace

std::vector<std::string> idle_settings(const Json& config, const Json& plain,
                                       const std::vector<IdleSetting>& settings) {
  std::vector<std::string> out;
  for (const IdleSetting& setting : settings) {
    const Json& given = value_of(config, setting.name);
    if (setting.idle && given != value_of(plain, setting.name))
      out.push_back(
          fmt::format("{} is {} and does nothing {}", setting.name, given.dump(), setting.when));
  }
  return out;
}

}  // namespace dure
