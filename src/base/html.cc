// The characters as Python's markupsafe writes them, which chat templates see.
#include "base/html.h"

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

}  // namespace dure
