// /proc/meminfo under the cgroup's limit. Of what a cgroup uses, pages of files can be dropped.
#include "base/memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace dure {
namespace {

std::string text_of(const Path& path) {
  if (!path_exists(path)) return "";
  try {
    return read_file(path);
  } catch (const Error&) {
    return "";
  }
}

// "max" gives 0.
int64_t number_in(const Path& path) { return std::atoll(text_of(path).c_str()); }

// The number behind a name, of lines "NAME NUMBER ..."; 0 where it is not there.
int64_t named_number(const std::string& text, const std::string& name) {
  std::istringstream in(text);
  std::string word, rest;
  for (int64_t value = 0; in >> word >> value; std::getline(in, rest)) {
    if (word == name) return value;
  }
  return 0;
}

}  // namespace

MachineMemory machine_memory() {
  const std::string machine = text_of("/proc/meminfo");
  MachineMemory out{.total_bytes = 1024 * named_number(machine, "MemTotal:"),
                    .available_bytes = 1024 * named_number(machine, "MemAvailable:"),
                    .free_swap_bytes = 1024 * named_number(machine, "SwapFree:")};
  const int64_t limit = number_in("/sys/fs/cgroup/memory.max");
  if (limit <= 0) return out;
  const std::string used = text_of("/sys/fs/cgroup/memory.stat");
  const int64_t kept = number_in("/sys/fs/cgroup/memory.current") -
                       named_number(used, "inactive_file") - named_number(used, "active_file");
  out.total_bytes = std::min(out.total_bytes, limit);
  out.available_bytes =
      std::min(out.available_bytes, std::max<int64_t>(0, limit - std::max<int64_t>(0, kept)));
  return out;
}

int64_t touched_bytes() {
  std::istringstream in(text_of("/proc/self/statm"));
  int64_t size = 0, resident = 0, shared = 0;
  in >> size >> resident >> shared;
  return std::max<int64_t>(0, resident - shared) * ::sysconf(_SC_PAGESIZE);
}

}  // namespace dure
