// base/html.h: text as HTML shows it.
//
// Owns the escaping of the five characters that mean something in HTML. Not here: reading HTML
// (data/).
#pragma once

#include <string>
#include <string_view>

namespace dure {

std::string escape_html(std::string_view text);  // & < > ' "

}  // namespace dure
