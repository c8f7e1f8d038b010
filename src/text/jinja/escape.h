// text/jinja/escape.h: HTML: escaping as the filter `e` does it, and taking tags out.
#pragma once

#include <string>
#include <string_view>

namespace dure::jinja {

std::string escape_html(std::string_view text);  // & < > ' "
std::string strip_tags(
    std::string_view text);  // Without comments and tags, white space joined, entities resolved.

}  // namespace dure::jinja
