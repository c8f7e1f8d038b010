// chat/stop_strings.h: texts that end an answer, wherever the borders of its tokens lie.
//
// Owns finding them in a text that comes in pieces, and holding back what may still become one: the
// text handed out does not depend on where it is cut, and is never taken back. Of several the one
// that is complete first counts; of those, the one that begins first. Not here: stop tokens
// (data/stop_rule.h), the answer they end (answer_stream.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

class StopStrings {
 public:
  StopStrings() = default;
  // None may be empty (checked). `included`: the text ends behind the stop string, not before it.
  StopStrings(std::vector<std::string> strings, bool included);

  // What is sure to be said. Nothing more once one was found.
  std::string push(std::string_view text);
  std::string finish();  // The end of the answer: what was held back.
  const std::optional<std::string>& found() const { return found_; }

 private:
  struct Search {
    std::string string;
    std::vector<size_t> shorter;  // of each beginning: the longest one that it ends with
    size_t matched = 0;           // of the string, at the end of the text so far
  };
  static bool step(Search& search, char c);

  std::vector<Search> searches_;
  bool included_ = false;
  std::string held_;
  std::optional<std::string> found_;
};

}  // namespace dure
