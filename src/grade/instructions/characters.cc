// Classes come from utf8proc's categories; what Unicode's derived properties add to them is listed.
#include "grade/instructions/characters.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/python_text.h"
#include "base/utf8.h"

namespace dure::instructions {
namespace {

struct CharRange {
  char32_t first, last;
};
// Other_Lowercase and Other_Uppercase (Unicode 15, PropList).
constexpr CharRange kOtherLower[] = {
    {0xAA, 0xAA},     {0xBA, 0xBA},     {0x2B0, 0x2B8},   {0x2C0, 0x2C1},    {0x2E0, 0x2E4},
    {0x345, 0x345},   {0x37A, 0x37A},   {0x10FC, 0x10FC}, {0x1D2C, 0x1D6A},  {0x1D78, 0x1D78},
    {0x1D9B, 0x1DBF}, {0x2071, 0x2071}, {0x207F, 0x207F}, {0x2090, 0x209C},  {0x2170, 0x217F},
    {0x24D0, 0x24E9}, {0x2C7C, 0x2C7D}, {0xA69C, 0xA69D}, {0xA770, 0xA770},  {0xA7F2, 0xA7F4},
    {0xA7F8, 0xA7F9}, {0xAB5C, 0xAB5F}, {0xAB69, 0xAB69}, {0x10780, 0x10780}};
constexpr CharRange kOtherUpper[] = {
    {0x2160, 0x216F}, {0x24B6, 0x24CF}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

template <size_t N>
bool in_ranges(const CharRange (&ranges)[N], char32_t c) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [c](const CharRange& range) { return c >= range.first && c <= range.last; });
}

utf8proc_category_t category_of(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_title(char32_t c) { return category_of(c) == UTF8PROC_CATEGORY_LT; }

// Cased letters for the final sigma: marks and signs between are passed over.
bool passed_over(char32_t c) {
  const auto category = category_of(c);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_CF || c == U'\'' ||
         c == 0x2019 || c == U'.' || c == U':' || c == 0xB7;
}
bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

bool ends_word(CharsView text, size_t i) {
  size_t before = i;
  while (before > 0 && passed_over(text[before - 1])) --before;
  size_t after = i + 1;
  while (after < text.size() && passed_over(text[after])) ++after;
  return before > 0 && is_cased(text[before - 1]) &&
         !(after < text.size() && is_cased(text[after]));
}

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

Chars chars_of(std::string_view utf8) {
  Chars out;
  out.reserve(utf8.size());
  for (size_t i = 0; i < utf8.size();) out.push_back(next_code_point(utf8, i));
  return out;
}

std::string utf8_of(CharsView chars) {
  std::string out;
  for (const char32_t c : chars) append_code_point(out, c);
  return out;
}

bool is_space(char32_t c) {
  return c < 0x80 ? c == 32 || (c >= 9 && c <= 13) || (c >= 28 && c <= 31) : python_is_space(c);
}
bool is_letter(char32_t c) {
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_number(char32_t c) {
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}
bool is_decimal(char32_t c) { return category_of(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) {  // superscripts, circled and the like are digits, not decimals
  return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
         (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
         (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) ||
         (c >= 0x2488 && c <= 0x2490) || c == 0x24EA || (c >= 0x24F5 && c <= 0x24FD) ||
         c == 0x24FF || (c >= 0x2776 && c <= 0x277E) || (c >= 0x2780 && c <= 0x2788) ||
         (c >= 0x278A && c <= 0x2792);
}
bool is_word_char(char32_t c) {
  if (c < 0x80)
    return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z') || (c >= U'0' && c <= U'9') ||
           c == U'_';
  return is_letter(c) || is_number(c);
}
bool is_upper(char32_t c) {
  return category_of(c) == UTF8PROC_CATEGORY_LU || in_ranges(kOtherUpper, c);
}
bool is_lower(char32_t c) {
  return category_of(c) == UTF8PROC_CATEGORY_LL || in_ranges(kOtherLower, c);
}
bool is_punctuation(char32_t c) { return c < 0x80 && contains(kPunctuation, c); }

bool all_upper(CharsView text) {
  bool cased = false;
  for (const char32_t c : text) {
    if (is_lower(c) || is_title(c)) return false;
    cased = cased || is_upper(c);
  }
  return cased;
}

bool all_lower(CharsView text) {
  bool cased = false;
  for (const char32_t c : text) {
    if (is_upper(c) || is_title(c)) return false;
    cased = cased || is_lower(c);
  }
  return cased;
}

bool all_digits(CharsView text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

Chars lower(CharsView text) {
  Chars out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == 0x130) {  // I with a dot: its lower case is two characters
      out += U"i\u0307";
    } else if (c == 0x3A3) {
      out.push_back(ends_word(text, i) ? 0x3C2 : 0x3C3);
    } else {
      out.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  return out;
}
std::string lower(std::string_view utf8) { return utf8_of(lower(chars_of(utf8))); }

Chars decomposed(CharsView text) {
  Chars out;
  for (const char32_t c : text) {
    utf8proc_int32_t parts[32];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(c), parts, 32,
        static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT), &boundary);
    for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, 32); ++i)
      out += static_cast<char32_t>(parts[i]);
  }
  return out;
}

CharsView strip(CharsView text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}
CharsView strip_left(CharsView text, CharsView of) {
  const size_t first = text.find_first_not_of(of);
  return first == text.npos ? CharsView() : text.substr(first);
}
CharsView strip_right(CharsView text, CharsView of) {
  return text.substr(0, text.find_last_not_of(of) + 1);
}
CharsView strip(CharsView text, CharsView of) { return strip_right(strip_left(text, of), of); }

std::vector<CharsView> split(CharsView text) {
  std::vector<CharsView> out;
  for (size_t i = 0; i < text.size();) {
    while (i < text.size() && is_space(text[i])) ++i;
    const size_t begin = i;
    while (i < text.size() && !is_space(text[i])) ++i;
    if (i > begin) out.push_back(text.substr(begin, i - begin));
  }
  return out;
}

std::vector<CharsView> split(CharsView text, CharsView with) {
  std::vector<CharsView> out;
  for (size_t begin = 0;;) {
    const size_t end = text.find(with, begin);
    out.push_back(text.substr(begin, end == text.npos ? end : end - begin));
    if (end == text.npos) return out;
    begin = end + with.size();
  }
}

std::vector<CharsView> split_lines(CharsView text) {
  std::vector<CharsView> out;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    while (i < text.size() && !is_line_end(text[i])) ++i;
    out.push_back(text.substr(begin, i - begin));
    if (i + 1 < text.size() && text[i] == U'\r' && text[i + 1] == U'\n') ++i;
    ++i;
  }
  return out;
}

Chars join(const std::vector<CharsView>& parts, CharsView with) {
  Chars out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += with;
    out += parts[i];
  }
  return out;
}

Chars without_punctuation(CharsView text) {
  Chars out;
  std::copy_if(text.begin(), text.end(), std::back_inserter(out),
               [](char32_t c) { return !is_punctuation(c); });
  return out;
}

Chars replaced(CharsView text, CharsView from, CharsView to) { return join(split(text, from), to); }

int64_t count_of(CharsView text, CharsView part) {
  if (part.empty()) return static_cast<int64_t>(text.size()) + 1;
  return static_cast<int64_t>(split(text, part).size()) - 1;
}

std::vector<CharsView> words_of(CharsView text) {
  std::vector<CharsView> out;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    while (i < text.size() && is_word_char(text[i])) ++i;
    if (i > begin)
      out.push_back(text.substr(begin, i - begin));
    else
      ++i;
  }
  return out;
}
int64_t word_count(CharsView text) { return static_cast<int64_t>(words_of(text).size()); }

}  // namespace dure::instructions
