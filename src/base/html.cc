// The characters as Python's markupsafe writes them, which chat templates see.
#include "base/html.h"

#include "base/python_text.h"

namespace dure {

std::string escape_html(std::string_view text) {
  static constexpr std::string_view kSpecial = "&<>'\"";
  static constexpr std::string_view kEscaped[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  std::string out;
  for (const char c : text) {
    const size_t at = kSpecial.find(c);
    at == std::string_view::npos ? out += c : out += kEscaped[at];
  }
  return out;
}

bool is_plain_character(char32_t c) {
  if (c < 0x20) return c == '\t' || c == '\n';
  const bool control = c >= 0x7f && c <= 0x9f;
  const bool turns = c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
                     (c >= 0x2066 && c <= 0x2069);
  return !control && !turns && (c < 0xd800 || c > 0xdfff);
}

std::string shown_html(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    if (is_plain_character(next_code_point(text, i))) {
      plain += text.substr(begin, i - begin);
    } else {
      plain += "\uFFFD";
    }
  }
  return escape_html(plain);
}

}  // namespace dure
