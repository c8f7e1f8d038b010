// base/memory.h: what memory this machine has, and what of it is free, under the container's limit
// where there is one.
//
// Not here: what a run needs (the plans of engine, model and train; cli/memory_plan.h sums them
// up).
#pragma once

#include <cstdint>

namespace dure {

struct MachineMemory {
  int64_t total_bytes = 0, available_bytes = 0;  // What files only cache counts as available.
  int64_t free_swap_bytes = 0;
};
// From /proc/meminfo and the cgroup's files; zeros where these are not there.
MachineMemory machine_memory();

// Private memory that this process has touched. 0 where unknown.
int64_t touched_bytes();

}  // namespace dure
