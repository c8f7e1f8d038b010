// Each string is searched byte by byte (Knuth, Morris, Pratt 1977), so that no text and no string
// takes more than its length; held is the longest end that begins one.
#include "chat/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace dure {

StopStrings::StopStrings(std::vector<std::string> strings, bool included) : included_(included) {
  for (std::string& string : strings) {
    DURE_CHECK(!string.empty(), "an empty stop string");
    Search search{.string = std::move(string)};
    search.shorter.assign(search.string.size() + 1, 0);
    for (size_t i = 1; i < search.string.size(); ++i) {
      step(search, search.string[i]);
      search.shorter[i + 1] = search.matched;
    }
    search.matched = 0;
    searches_.push_back(std::move(search));
  }
}

// True where the string is complete.
bool StopStrings::step(Search& search, char c) {
  size_t& matched = search.matched;
  while (matched > 0 && search.string[matched] != c) matched = search.shorter[matched];
  if (search.string[matched] == c) ++matched;
  return matched == search.string.size();
}

std::string StopStrings::push(std::string_view text) {
  if (found_) return "";
  if (searches_.empty()) return std::string(text);
  for (const char c : text) {
    held_ += c;
    const Search* longest = nullptr;  // Of those complete here it begins first.
    for (Search& search : searches_) {
      if (step(search, c) && (!longest || search.string.size() > longest->string.size()))
        longest = &search;
    }
    if (longest == nullptr) continue;
    found_ = longest->string;
    if (!included_) held_.resize(held_.size() - longest->string.size());
    return std::exchange(held_, "");
  }
  size_t held = 0;
  for (const Search& search : searches_) held = std::max(held, search.matched);
  const size_t sure = held_.size() - held;
  std::string out = held_.substr(0, sure);
  held_.erase(0, sure);
  return out;
}

std::string StopStrings::finish() { return std::exchange(held_, ""); }

}  // namespace dure
