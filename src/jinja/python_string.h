// jinja/python_string.h: Python's str methods as plain functions on UTF-8 text.
//
// Not here: templates' values and errors (value.h), format strings (format.h). Case mapping is
// utf8proc's, with those mappings to several letters that living text has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/python_text.h"

namespace dure::jinja {

int64_t character_count(std::string_view text);

// Byte offset of character `index` (0 <= index <= count).
size_t byte_offset(std::string_view text, int64_t index);
std::vector<char32_t> code_points(std::string_view text);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title_case(std::string_view text);  // str.title()
std::string filter_title_case(
    std::string_view text);  // The filter `title`, which only splits at some characters.

bool is_printable(char32_t code);
std::string escaped(char32_t code);  // "\\x1f", "\\u200b", "\\U000e0001"

// str.isupper() and str.islower(): some letter has the case, and none has the other.
enum class Case { kLower, kUpper };
bool is_of_case(std::string_view text, Case wanted);

std::string_view strip_characters(std::string_view text, std::string_view characters,
                                  StripSide side);

// No separator: white space, of which runs count once and the ends do not count.
std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator,
                               int64_t split_count_max);
// From the end: the parts that are left over are the text's beginning.
std::vector<std::string> rsplit(std::string_view text, std::optional<std::string_view> separator,
                                int64_t split_count_max);
std::vector<std::string> split_lines(std::string_view text);

// str.isalpha(), str.isdecimal(), str.isspace(): some characters, and all of the kind. Python's
// isdigit() has a few dozen more (\u00b2, \u2460), which only is_digit() knows.
enum class CharacterKind { kAlpha, kDecimal, kDigit, kSpace };
bool all_are(std::string_view text, CharacterKind kind);

std::string replace(std::string_view text, std::string_view old_text, std::string_view new_text,
                    int64_t count_max);
int64_t count_of(std::string_view text, std::string_view part);

std::string repeated(std::string_view text, int64_t count);  // Nothing for a negative count.

}  // namespace dure::jinja
