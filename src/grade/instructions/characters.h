// grade/instructions/characters.h: text by the character, and what Python's str says of it.
//
// Public checkers of instructions are Python: what they call a word, a capital or white space is
// what str.split(), str.isupper() and str.isspace() say. Owns those, over code points. Not here:
// patterns (pattern.h), words and sentences of a language (english.h, spanish.h, japanese.h).
// Source: Python's reference of str, checked against CPython 3.11 (Unicode 14 there, 15 here).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace dure::instructions {

using Chars = std::u32string;
using CharsView = std::u32string_view;

Chars chars_of(std::string_view utf8);
std::string utf8_of(CharsView chars);

bool is_space(char32_t c);
bool is_letter(char32_t c);     // str.isalpha()
bool is_number(char32_t c);     // a digit or a sign with a numeric value
bool is_digit(char32_t c);      // str.isdigit()
bool is_decimal(char32_t c);    // \d
bool is_word_char(char32_t c);  // \w: a letter, a number, '_'; not a combining mark
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_punctuation(char32_t c);  // string.punctuation: 32 of ASCII

// str.isupper(), str.islower(): some cased character, and none of the other case.
bool all_upper(CharsView text);
bool all_lower(CharsView text);
bool all_digits(CharsView text);   // and some
Chars lower(CharsView text);       // with Python's final sigma
Chars decomposed(CharsView text);  // NFKD
std::string lower(std::string_view utf8);

CharsView strip(CharsView text);
CharsView strip(CharsView text, CharsView of);
CharsView strip_left(CharsView text, CharsView of);
CharsView strip_right(CharsView text, CharsView of);
inline constexpr CharsView kPunctuation = U"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
inline constexpr CharsView kPunctuationAndBlank = U"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ";

std::vector<CharsView> split(CharsView text);                  // str.split()
std::vector<CharsView> split(CharsView text, CharsView with);  // `with` is not empty
std::vector<CharsView> split_lines(CharsView text);            // str.splitlines()
Chars join(const std::vector<CharsView>& parts, CharsView with);
Chars without_punctuation(CharsView text);
Chars replaced(CharsView text, CharsView from, CharsView to);
int64_t count_of(CharsView text, CharsView part);  // str.count(): none overlap
inline bool contains(CharsView text, CharsView part) { return text.find(part) != text.npos; }
inline bool contains(CharsView text, char32_t c) { return text.find(c) != text.npos; }
int64_t word_count(CharsView text);  // runs of \w
std::vector<CharsView> words_of(CharsView text);

}  // namespace dure::instructions
