// base/shared_log.h: the log of one of several processes that would all say the same.
//
// Not here: who they are (comm/ranks.h), the log itself (log.h).
#pragma once

#include "base/log.h"

namespace dure {

// Another process says it: from now on log_info() and log_warn() of this one are silent.
void leave_log_to_another();

void log_own_line(LogLevel level, const std::string& text);

// Of what this process alone can know, such as its host's memory.
template <typename... Args>
void log_own_warn(fmt::format_string<Args...> format, Args&&... args) {
  log_own_line(LogLevel::kWarn, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace dure
