// grade/instructions/pattern.h: regular expressions that come with an item, as Python's `re` reads
// them.
//
// Owns compiling and matching under limits (PCRE2, UTF-8, Unicode classes). Not here: patterns of
// the checkers themselves, which are written out as loops because answers may be of any size.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace dure::instructions {

// What a pattern could not decide within its limits: the grade is "cannot tell".
struct TooCostly {
  std::string pattern;
};

enum class LetterCase { kExact, kIgnored };

class Pattern {
 public:
  // Throws kInvalidArgument naming `where` and the pattern. `.` is any character but \n.
  Pattern(std::string pattern, LetterCase letter_case, std::string_view where);
  // `text` is valid UTF-8. Both throw TooCostly.
  bool found_in(std::string_view text) const;
  int64_t count_in(std::string_view text) const;  // matches that do not overlap, as re.findall

 private:
  struct Compiled;
  std::string pattern_;
  std::shared_ptr<const Compiled> compiled_;
};

// A pattern that means just `text`.
std::string escaped(std::string_view text);

}  // namespace dure::instructions
