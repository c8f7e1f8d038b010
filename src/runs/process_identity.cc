// From /proc/NUMBER/stat, field 22 (proc(5)).
#include "runs/process_identity.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace dure {
namespace {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "";
}

// 0 where there is no such process, or it is a zombie.
int64_t start_of(int64_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return 0;
  const size_t name_end = line.rfind(')');  // The name may hold spaces and brackets.
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  std::string field;
  int64_t start = 0;
  for (int i = 3; fields >> field; ++i) {
    if (i == 3 && field == "Z") return 0;
    if (i == 22) start = std::atoll(field.c_str());
  }
  return start;
}

}  // namespace

ProcessIdentity ProcessIdentity::ours() { return {host_name(), ::getpid(), start_of(::getpid())}; }

bool ProcessIdentity::is_of_this_machine() const { return host == host_name(); }

bool ProcessIdentity::lives() const {
  const int64_t now = start_of(number);
  return now != 0 && now == start;
}

}  // namespace dure
