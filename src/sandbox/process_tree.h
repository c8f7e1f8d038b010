// sandbox/process_tree.h: what a process and all that came from it use at this moment.
//
// Owns reading /proc. What it sees is a moment old: processes come and go while it looks. Not here:
// limits and what is done about them (sandboxed_program.cc).
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace dure {

struct ProcessTreeUse {
  int64_t processes = 0;
  double cpu_seconds = 0;  // of those alive, and of their children that were waited for
  // Resident and its own: pages that forked processes share count once in each here.
  int64_t private_bytes = 0;
};

// All zero where `root` is gone. A zombie root still tells its time.
ProcessTreeUse process_tree_use(pid_t root);

// Resident bytes with every shared page counted once; slower, for when private_bytes is too much.
int64_t process_tree_resident_bytes(pid_t root);

}  // namespace dure
