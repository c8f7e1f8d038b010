// cli/machine_facts.h: what this machine is, from the kernel's own files and the program's own
// choice.
//
// For `dure doctor` and for results that say where they were measured. Not here: how fast it is
// (kernels/peak.h), how much memory a run needs (memory_plan.h).
#pragma once

#include <string>

#include "base/json.h"

namespace dure {

// What follows "NAME :" in a file of the kernel's; empty where there is none.
std::string field_of(const Path& file, const std::string& name);

std::string processor_name();  // "" where the system does not say

// "date", "program", "commit", "compiler", "processor", "cores", "threads", "memory_bytes",
// "instruction_set"; what is not known is absent.
Json measured_facts(int64_t thread_count);

}  // namespace dure
