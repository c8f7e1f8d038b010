// Where a failed check ends: the macros hand over the values as text, the process stops here.
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace dure {

void check_failed(const char* file, int line, const char* condition, const std::string& detail) {
  std::fprintf(stderr, "%s:%d: contract broken: %s%s%s\n", file, line, condition,
               detail.empty() ? "" : ": ", detail.c_str());
  std::abort();
}

}  // namespace dure
