// grade/maths_words.h: answers that are words, made comparable.
#pragma once

#include <string>
#include <string_view>

namespace dure {

// The text without LaTeX's wrappings (\text{}, $, \left, spaces), case, brackets around all of it
// and a full stop at its end; signs of mathematics stay.
std::string maths_words(std::string_view text);
// The text as it is but for `$`, runs of white space and a full stop at its end.
std::string maths_plain(std::string_view text);
// Letters alone, of `maths_words`: "ellipse", "c".
bool is_one_word(std::string_view words);
// "(c) ellipse", "c. ellipse" or "c: ..." where `letter` is "c": an option with its text.
bool begins_with_letter(std::string_view words, std::string_view letter);
bool is_number_word(std::string_view word);  // "five", "none", "infinitely": it may mean a number

}  // namespace dure
