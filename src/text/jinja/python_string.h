// text/jinja/python_string.h: Python's str methods as plain functions on UTF-8 text.
//
// Not here: templates' values and errors (value.h), format strings (format.h). Case mapping is
// utf8proc's, with the mappings to several letters that Python also has (docs/jinja.md names what
// is left out).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/python_text.h"

namespace dure::jinja {

int64_t character_count(std::string_view text);

// Byte offset of character `index` (0 <= index <= count).
size_t byte_offset(std::string_view text, int64_t index);
std::vector<char32_t> code_points(std::string_view text);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_casefold(std::string_view text);
std::string swap_case(std::string_view text);
std::string capitalize(std::string_view text);
std::string title_case(std::string_view text);  // str.title()
std::string filter_title_case(
    std::string_view text);  // The filter `title`, which only splits at some characters.

bool is_printable(char32_t code);
std::string escaped(char32_t code);  // "\\x1f", "\\u200b", "\\U000e0001"
bool is_word_character(char32_t code);  // \w
bool is_identifier(std::string_view text);
// "alpha", "alnum", "digit", "decimal", "numeric", "space", "upper", "lower", "title", "ascii",
// "printable", "identifier".
bool is_of_class(std::string_view text, std::string_view name);

std::string_view strip_characters(std::string_view text, std::string_view characters,
                                  StripSide side);

std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator,
                               int64_t split_count_max);
std::vector<std::string> rsplit(std::string_view text, std::optional<std::string_view> separator,
                                int64_t split_count_max);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

std::string replace(std::string_view text, std::string_view old_text, std::string_view new_text,
                    int64_t count_max);
int64_t count_of(std::string_view text, std::string_view part);
std::string expand_tabs(std::string_view text, int64_t tab_size);

enum class Align { kLeft, kRight, kCenter };
std::string pad(std::string_view text, int64_t width, Align align,
                std::string_view fill = " ");  // Center as str.center.

}  // namespace dure::jinja
