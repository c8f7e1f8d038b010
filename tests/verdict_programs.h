// tests/verdict_programs.h: what tests that run published programs share.
#pragma once

#include <atomic>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace dure::verdicts {

inline std::vector<Json> rows_of(const Path& path) {
  std::vector<Json> rows;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) rows.push_back(parse_json(line, path.string()));
  return rows;
}

// Calls body(i) for every i below `count`, on two threads.
template <typename Body>
void two_at_a_time(size_t count, Body body) {
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i; (i = next++) < count;) body(i);
  };
  std::thread other(work);
  work();
  other.join();
}

}  // namespace dure::verdicts
