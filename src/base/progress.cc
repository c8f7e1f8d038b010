// The drawing, and durations, counts and bytes in short words. One flag for the whole process says
// whether a bar stands on the screen, so that log.cc can wipe it.
#include "base/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace dure {
namespace {

std::atomic<bool> g_bar_on_screen = false;  // Any thread may log.

double seconds_between(std::chrono::steady_clock::time_point from,
                       std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

std::string format_duration(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f}s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

std::string format_count(double count) {
  if (count < 1e3)
    return count == static_cast<int64_t>(count) ? fmt::format("{:.0f}", count)
                                                : fmt::format("{:.1f}", count);
  if (count < 1e6) return fmt::format("{:.1f}k", count / 1e3);
  if (count < 1e9) return fmt::format("{:.1f}M", count / 1e6);
  return fmt::format("{:.1f}G", count / 1e9);
}

std::string format_bytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

Progress::Progress(std::string title, int64_t total_count, std::string unit)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_count_(total_count),
      start_(std::chrono::steady_clock::now()),
      drawn_(start_),
      terminal_(isatty(STDERR_FILENO) == 1) {
  const char* setting = std::getenv("DURE_PROGRESS");
  silent_ = setting != nullptr && std::string_view(setting) == "off";
}

Progress::~Progress() {
  if (!finished_ && g_bar_on_screen) {
    std::fputc('\n', stderr);
    g_bar_on_screen = false;
  }
}

void Progress::start_at(int64_t count) { start_count_ = count_ = count; }

void Progress::update(int64_t count, const std::string& note) {
  count_ = count;
  if (!note.empty()) note_ = note;
  const double wait_s = terminal_ ? 0.1 : 10.0;
  const auto now = std::chrono::steady_clock::now();
  if (seconds_between(drawn_, now) < wait_s) return;
  drawn_ = now;
  draw(/*last=*/false);
}

void Progress::finish(const std::string& note) {
  if (finished_) return;
  finished_ = true;
  if (!note.empty()) note_ = note;
  draw(/*last=*/true);
}

std::string Progress::text(double elapsed_s) const {
  const double rate = elapsed_s > 0 ? static_cast<double>(count_ - start_count_) / elapsed_s : 0;
  std::string line = title_ + " ";
  if (total_count_ > 0) {
    const double share =
        std::min(1.0, static_cast<double>(count_) / static_cast<double>(total_count_));
    if (terminal_) {
      const int filled = static_cast<int>(share * 24);
      line += "[" + std::string(filled, '=') + std::string(24 - filled, ' ') + "] ";
    }
    line += fmt::format("{:3.0f}% {}/{} {}", share * 100, format_count(static_cast<double>(count_)),
                        format_count(static_cast<double>(total_count_)), unit_);
  } else {
    line += fmt::format("{} {}", format_count(static_cast<double>(count_)), unit_);
  }
  line += fmt::format("  {}/s", format_count(rate));
  if (!note_.empty()) line += "  " + note_;
  if (finished_) {
    line += "  in " + format_duration(elapsed_s);
  } else if (total_count_ > 0 && rate > 0) {
    line += "  " + format_duration(static_cast<double>(total_count_ - count_) / rate) + " left";
  }
  return line;
}

void Progress::draw(bool last) {
  if (silent_) return;
  const std::string line = text(seconds_between(start_, std::chrono::steady_clock::now()));
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s%s", line.c_str(), last ? "\n" : "");
    g_bar_on_screen = !last;
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

void Progress::clear_screen_line() {
  if (g_bar_on_screen) {
    std::fputs("\r\033[K", stderr);
    g_bar_on_screen = false;
  }
}

}  // namespace dure
