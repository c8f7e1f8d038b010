// grammar/string_formats.h: the `format`s of JSON Schema that are regular, as patterns.
//
// Dates know the lengths of months and leap years; leap seconds and the year 0 are left out. Not
// here: who asks (schema_strings.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dure {

// A pattern for the whole text; nothing where `format` is unknown.
std::optional<std::string> format_pattern(std::string_view format);
// Formats that the standard names and that are not written yet: refused rather than ignored.
bool is_unwritten_format(std::string_view format);
std::string known_formats();  // "date, time, ..."

}  // namespace dure
