// base/progress.h: how far a long step has come, on standard error: a bar on a terminal, plain
// lines elsewhere.
//
// On a terminal the bar is redrawn at most ten times a second; elsewhere one line at the start,
// every ten seconds and at the end. Shows rate, a note (such as the loss) and the time left. Not
// thread-safe: one owner.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace dure {

class Progress {
 public:
  // `unit` reads like "tokens" or "steps"; total_count 0 means unknown. DURE_PROGRESS=off silences
  // every bar.
  Progress(std::string title, int64_t total_count, std::string unit);
  ~Progress();  // Leaves the last state on screen.
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void start_at(int64_t count);  // Resumed work: not counted in the rate.
  void update(int64_t count, const std::string& note = "");
  void finish(const std::string& note = "");  // Final line, once.

  static void clear_screen_line();  // For log lines that come between.

 private:
  void draw(bool last);
  std::string text(double elapsed_s) const;

  std::string title_, unit_, note_;
  int64_t total_count_, count_ = 0, start_count_ = 0;
  std::chrono::steady_clock::time_point start_, drawn_;
  bool terminal_, silent_, finished_ = false;
};

std::string format_duration(double seconds);  // "7.3s", "4m12s", "2h05m"
std::string format_count(double count);       // "812", "12.4k", "3.1M"
std::string format_bytes(double bytes);       // "812 B", "1.5 KiB", "12.0 GiB"

}  // namespace dure
