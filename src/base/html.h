// base/html.h: text as HTML shows it.
//
// Owns the escaping of the five characters that mean something in HTML. Not here: reading HTML
// (data/).
#pragma once

#include <string>
#include <string_view>

namespace dure {

std::string escape_html(std::string_view text);  // & < > ' "

// Whether a character shows as itself: no control but tab and line break, none that turns the
// direction of the text around it, no half of a pair.
bool is_plain_character(char32_t c);
// Escaped, and what is no plain character as U+FFFD: for texts that come from anywhere.
std::string shown_html(std::string_view text);

}  // namespace dure
