// base/python_text.h: what Python does with text and numbers, as far as chat templates and tool
// calls show it.
//
// Strings are UTF-8. Bytes that are no UTF-8 count as one character each and are passed through.
// Not here: the template language (jinja/), the tokeniser's own scanner and normaliser.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace dure {

// The code point that starts at text[i], and moves i past it. A stray byte b is returned as 0xDC00
// + b (a lone surrogate, as Python's "surrogateescape" has it), and append_code_point writes that
// byte back.
char32_t next_code_point(std::string_view text, size_t& i);
void append_code_point(std::string& out, char32_t code);

bool python_is_space(
    char32_t code);  // str.isspace() of one character: 29 characters, U+3000 among them.

enum class StripSide { kBoth, kLeft, kRight };
std::string_view python_strip(std::string_view text, StripSide side = StripSide::kBoth);
// Of any of these characters instead of white space.
std::string_view python_strip(std::string_view text, StripSide side, std::string_view characters);

// repr() of a float: the shortest digits that read back; an exponent below 1e-4 and from 1e16 on:
// "0.1", "1e+16". inf and nan are "inf", "-inf", "nan".
std::string python_float(double value);

// json.dumps: ", " and ": " between things, numbers as Python prints them. Non-ASCII stays unless
// `ensure_ascii`.
void append_python_json_string(std::string& out, std::string_view text, bool ensure_ascii);
std::string python_json_number(
    double value);  // As python_float, but "Infinity", "-Infinity", "NaN".
std::string python_json(const Json& value);

}  // namespace dure
