// One spdlog logger on standard error, made at the first line as DURE_LOG says. The line of a
// progress bar is wiped before a message is written over it.
#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "base/progress.h"
#include "base/shared_log.h"

namespace dure {
namespace {

std::atomic<bool> g_left_to_another = false;

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

LogLevel level_from_environment() {
  const char* value = std::getenv("DURE_LOG");
  const std::string_view name = value == nullptr ? "info" : value;
  if (name == "debug") return LogLevel::kDebug;
  if (name == "warn") return LogLevel::kWarn;
  if (name == "error") return LogLevel::kError;
  if (name == "off") return LogLevel::kOff;
  return LogLevel::kInfo;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>(
        "dure", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%H:%M:%S %^%v%$");
    made->set_level(to_spdlog(level_from_environment()));
    return made;
  }();
  return *instance;
}

}  // namespace

void set_log_level(LogLevel level) { logger().set_level(to_spdlog(level)); }

void leave_log_to_another() { g_left_to_another = true; }

void log_line(LogLevel level, const std::string& text) {
  const bool shared = level == LogLevel::kInfo || level == LogLevel::kWarn;
  if (!shared || !g_left_to_another) log_own_line(level, text);
}

void log_own_line(LogLevel level, const std::string& text) {
  Progress::clear_screen_line();
  logger().log(to_spdlog(level), "{}", level == LogLevel::kWarn ? "warning: " + text : text);
}

}  // namespace dure
