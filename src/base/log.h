// base/log.h: lines for a person, on standard error, with the time. Metrics go to files
// (train/metrics.h).
//
// Thread-safe. The level comes from --verbose/--quiet or DURE_LOG (debug, info, warn, error, off);
// default info.
#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>

namespace dure {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

void set_log_level(LogLevel level);
void log_line(LogLevel level,
              const std::string& text);  // One line; a progress bar on screen is cleared first.

template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warn(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kWarn, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace dure
