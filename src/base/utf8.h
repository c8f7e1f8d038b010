// base/utf8.h: UTF-8 by the byte: where characters begin, which are well-formed, how one is
// written.
//
// Not here: what characters are (text/unicode.h), repair of whole texts (text/unicode.h), Python's
// view of stray bytes (python_text.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dure {

// Whether a byte goes on with a character that began before it.
inline bool is_utf8_tail(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// The last place at or before `at` (at most the size) where a character may begin.
inline size_t utf8_start(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && is_utf8_tail(text[at])) --at;
  return at;
}

// Length of the well-formed character at byte i (Unicode 15, table 3-7), or minus the length of the
// maximal ill-formed part there (section 3.9). `i` is below the size.
int utf8_length_of_many(std::string_view text, size_t i);
inline int utf8_length(std::string_view text, size_t i) {
  return static_cast<uint8_t>(text[i]) < 0x80 ? 1 : utf8_length_of_many(text, i);
}

void append_utf8(std::string& out, char32_t code);

}  // namespace dure
