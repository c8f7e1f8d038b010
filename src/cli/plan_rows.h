// cli/plan_rows.h: the rows of what `dure plan` says of ranks: a name, a figure, and the bytes in
// full behind it.
#pragma once

#include <cstdio>
#include <string>

#include "base/error.h"
#include "base/progress.h"

namespace dure::plan_rows {

inline void row(const std::string& what, const std::string& value) {
  std::printf("  %-44s %s\n", what.c_str(), value.c_str());
}
inline void bytes_row(const std::string& what, int64_t bytes) {
  row(what, fmt::format("{:>12}  {}", format_bytes(static_cast<double>(bytes)), bytes));
}
inline void bytes_row_if(const std::string& what, int64_t bytes) {
  if (bytes > 0) bytes_row(what, bytes);
}
inline void seconds_row(const std::string& what, double seconds) {
  if (seconds > 0) row(what, fmt::format("{:>12.4g} s", seconds));
}
inline std::string host_verdict(int64_t needed, int64_t memory_bytes) {
  if (needed <= memory_bytes) return "fits";
  return fmt::format("does not fit: {} are there", format_bytes(static_cast<double>(memory_bytes)));
}

}  // namespace dure::plan_rows
