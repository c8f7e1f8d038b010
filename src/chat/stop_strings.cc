// A search for each string in what is held and what is new; held is the longest end that begins
// one.
#include "chat/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace dure {

StopStrings::StopStrings(std::vector<std::string> strings, bool included)
    : strings_(std::move(strings)), included_(included) {
  for (const std::string& string : strings_) DURE_CHECK(!string.empty(), "an empty stop string");
}

std::string StopStrings::push(std::string_view text) {
  if (found_) return "";
  if (strings_.empty()) return std::string(text);
  held_ += text;
  size_t begin = std::string::npos, end = std::string::npos;
  for (const std::string& string : strings_) {
    const size_t at = held_.find(string);
    if (at == std::string::npos) continue;
    const size_t its_end = at + string.size();
    if (its_end < end || (its_end == end && at < begin)) {
      begin = at;
      end = its_end;
    }
  }
  if (end != std::string::npos) {
    found_ = held_.substr(begin, end - begin);
    held_.resize(included_ ? end : begin);
    return std::exchange(held_, "");
  }
  const size_t sure = held_.size() - held_size();
  std::string out = held_.substr(0, sure);
  held_.erase(0, sure);
  return out;
}

std::string StopStrings::finish() { return std::exchange(held_, ""); }

size_t StopStrings::held_size() const {
  size_t longest = 0;
  for (const std::string& string : strings_) {
    for (size_t size = std::min(held_.size(), string.size() - 1); size > longest; --size) {
      if (std::string_view(held_).ends_with(std::string_view(string).substr(0, size)))
        longest = size;
    }
  }
  return longest;
}

}  // namespace dure
