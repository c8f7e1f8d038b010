// Lines of /proc, as they are.
#include "cli/machine.h"

#include <sstream>

namespace dure {

std::string field_of(const Path& file, const std::string& name) {
  if (!path_exists(file)) return "";
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    const size_t at = line.find_first_not_of(": \t", name.size());
    if (at != std::string::npos) return line.substr(at);
  }
  return "";
}

std::string processor_name() { return field_of("/proc/cpuinfo", "model name"); }

}  // namespace dure
