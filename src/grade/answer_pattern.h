// grade/answer_pattern.h: the regular expressions of published checkers, found in what a model
// says.
//
// They are Python's there and mean here what they mean there (PCRE2: UTF-8, \w \b \s \d by Unicode,
// only '\n' ends a line). Matching is bounded in steps and heap; a text that needs more is given
// up, which is told and never thrown. Not here: patterns of tokenizers (text/regex.h), which
// letter or number an answer gives (choice.h, match.h).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

// A match as Python's findall() tells it: the groups, or the whole where the pattern has none.
struct PatternMatch {
  size_t begin = 0, end = 0;  // bytes
  std::vector<std::string> groups;
  const std::string& first_group() const;  // the first that is not empty; else the first
};

struct PatternSearch {
  std::optional<PatternMatch> match;
  bool gave_up = false;  // the limits were reached: whether there is a match is not known
};

enum class WhichMatch { kFirst, kLast };

class AnswerPattern {
 public:
  // Throws kInvalidArgument saying `where` the pattern stands and what is wrong with it.
  AnswerPattern(const std::string& pattern, std::string_view where);
  // `text`: valid UTF-8. kLast takes the last of the matches that do not overlap, left to right.
  PatternSearch search(std::string_view text, WhichMatch which) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

// "{L}" in `pattern` replaced.
std::string with_letters(std::string pattern, std::string_view letter_class);

}  // namespace dure
