// Children by /proc/PID/task/*/children; times and pages by stat, statm and smaps_rollup.
#include "sandbox/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace dure {
namespace {

// A tree is never walked further than this: more than any sandbox is given.
constexpr size_t kProcessesMax = 4096;

// Whole, or empty: files of processes vanish.
std::string read_proc(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(file, buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  ::close(file);
  return text;
}

std::string place(pid_t process, const char* file) {
  return "/proc/" + std::to_string(process) + "/" + file;
}

void add_children(pid_t process, std::vector<pid_t>& found) {
  const std::string folder = place(process, "task");
  const std::unique_ptr<DIR, int (*)(DIR*)> threads(::opendir(folder.c_str()), ::closedir);
  if (threads == nullptr) return;
  while (const dirent* thread = ::readdir(threads.get())) {
    if (thread->d_name[0] == '.') continue;
    std::istringstream children(read_proc(folder + "/" + thread->d_name + "/children"));
    for (pid_t child; children >> child && found.size() < kProcessesMax;) found.push_back(child);
  }
}

std::vector<pid_t> tree_of(pid_t root) {
  std::vector<pid_t> found = {root};
  for (size_t i = 0; i < found.size(); ++i) add_children(found[i], found);
  return found;
}

// Fields 14 to 17 of stat (proc(5)): user and system time, and those of children waited for.
double cpu_seconds_of(pid_t process) {
  const std::string stat = read_proc(place(process, "stat"));
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double ticks = 0;
  for (double field = 0; int i : {14, 15, 16, 17}) {
    (void)i;
    if (fields >> field) ticks += field;
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

int64_t private_bytes_of(pid_t process) {
  std::istringstream fields(read_proc(place(process, "statm")));
  int64_t size = 0, resident = 0, shared = 0;
  if (!(fields >> size >> resident >> shared)) return 0;
  return (resident - shared) * ::sysconf(_SC_PAGESIZE);
}

int64_t proportional_bytes_of(pid_t process) {
  const std::string rollup = read_proc(place(process, "smaps_rollup"));
  const size_t at = rollup.find("\nPss:");
  if (at == std::string::npos) return private_bytes_of(process);
  return std::strtoll(rollup.c_str() + at + 5, nullptr, 10) * 1024;
}

}  // namespace

ProcessTreeUse process_tree_use(pid_t root) {
  ProcessTreeUse use;
  for (const pid_t process : tree_of(root)) {
    ++use.processes;
    use.cpu_seconds += cpu_seconds_of(process);
    use.private_bytes += private_bytes_of(process);
  }
  return use;
}

int64_t process_tree_resident_bytes(pid_t root) {
  int64_t bytes = 0;
  for (const pid_t process : tree_of(root)) bytes += proportional_bytes_of(process);
  return bytes;
}

}  // namespace dure
