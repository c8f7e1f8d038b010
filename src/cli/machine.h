// cli/machine.h: what the kernel says of the machine, in its own words.
//
// Not here: memory (memory_plan.h), what is measured (kernels/peak.h).
#pragma once

#include <string>

#include "base/file.h"

namespace dure {

// What follows "NAME :" in a file of the kernel's; empty where there is none.
std::string field_of(const Path& file, const std::string& name);
std::string processor_name();

}  // namespace dure
