// grade/normal_text.h: answers made comparable: one Unicode form, one case, white space, without
// what does not matter.
//
// Bytes that are no UTF-8 become U+FFFD. Not here: mathematics (maths.h), numbers (match.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace dure {

struct NormalTextOptions {
  bool ignore_case = true;  // full case folding (Unicode)
  bool ignore_punctuation =
      true;                     // categories P, and ASCII's symbols as Python's `string` has them
  bool ignore_articles = true;  // a, an, the as whole words
};

// NFC, then what the options ask for, then white space: single spaces, none at the ends. The order
// is that of the SQuAD evaluation: case, punctuation, articles, white space.
std::string normal_text(std::string_view text, const NormalTextOptions& options);
// `from` wherever it stands, from left to right; not empty.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);
std::string folded_case(std::string_view text);  // of valid UTF-8

// A reference that is a text, a number, or a list of those (any of them is right). Throws
// kInvalidArgument naming `where`.
std::vector<std::string> reference_texts(const Json& reference, const std::string& where);

}  // namespace dure
