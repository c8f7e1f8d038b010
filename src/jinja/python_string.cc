// Letters by utf8proc, with the special cases that Python has.
#include "jinja/python_string.h"

#include <utf8proc.h>

#include <algorithm>

#include "jinja/budget.h"

namespace dure::jinja {
namespace {

utf8proc_category_t category(char32_t code) {
  return code >= 0xDC80 && code < 0xDD00 ? UTF8PROC_CATEGORY_CS
                                         : utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool is_upper(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LU; }
bool is_lower(char32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LL || code == 0xAA || code == 0xBA;
}
bool is_cased(char32_t code) {
  return is_upper(code) || is_lower(code) || category(code) == UTF8PROC_CATEGORY_LT;
}

// Unicode's SpecialCasing.txt, as far as living text has it: letters whose capital is several
// letters.
struct SpecialCase {
  char32_t code;
  const char* upper;
  const char* title;
};
constexpr SpecialCase kSpecialCases[] = {
    {0xDF, "SS", "Ss"},   {0x149, "ʼN", "ʼN"},    {0x1F0, "J̌", "J̌"},      {0x390, "Ϊ́", "Ϊ́"},
    {0x3B0, "Ϋ́", "Ϋ́"},    {0x587, "ԵՒ", "Եւ"},    {0x1E96, "H̱", "H̱"},     {0x1E97, "T̈", "T̈"},
    {0x1E98, "W̊", "W̊"},   {0x1E99, "Y̊", "Y̊"},     {0xFB00, "FF", "Ff"},   {0xFB01, "FI", "Fi"},
    {0xFB02, "FL", "Fl"}, {0xFB03, "FFI", "Ffi"}, {0xFB04, "FFL", "Ffl"}, {0xFB05, "ST", "St"},
    {0xFB06, "ST", "St"},
};

// A stray byte stays what it is.
using Mapping = utf8proc_int32_t (*)(utf8proc_int32_t);
void append_mapped(std::string& out, char32_t code, Mapping mapping) {
  const bool is_raw_byte = code >= 0xDC80 && code < 0xDD00;
  const auto given = static_cast<utf8proc_int32_t>(code);
  append_code_point(out, is_raw_byte ? code : static_cast<char32_t>(mapping(given)));
}

enum class Capital { kUpper, kTitle };
void append_capital(std::string& out, char32_t code, Capital capital) {
  const bool upper = capital == Capital::kUpper;
  for (const SpecialCase& special : kSpecialCases) {
    if (special.code == code) return void(out += upper ? special.upper : special.title);
  }
  append_mapped(out, code, upper ? utf8proc_toupper : utf8proc_totitle);
}

// A sigma that ends a word has a form of its own.
bool is_final_sigma(const std::vector<char32_t>& codes, size_t i) {
  const auto ignorable = [](char32_t c) {
    const auto k = category(c);
    return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019 ||
           k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_CF;
  };
  size_t before = i, after = i + 1;
  while (before > 0 && ignorable(codes[before - 1])) --before;
  while (after < codes.size() && ignorable(codes[after])) ++after;
  return before > 0 && is_cased(codes[before - 1]) &&
         !(after < codes.size() && is_cased(codes[after]));
}

void append_lower(std::string& out, const std::vector<char32_t>& codes, size_t i) {
  const char32_t code = codes[i];
  if (code == 0x130)
    out += "i̇";
  else if (code == 0x3A3)
    out += is_final_sigma(codes, i) ? "ς" : "σ";
  else
    append_mapped(out, code, utf8proc_tolower);
}

// Numeric_Type=Digit without being decimal: superscripts, subscripts, circled and bracketed digits.
bool is_other_digit(char32_t code) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0xB2, 0xB3},       {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},
      {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
      {0x2474, 0x247C},   {0x2488, 0x2490},   {0x24EA, 0x24EA},   {0x24F5, 0x24FD},
      {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},   {0x278A, 0x2792},
      {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};
  return std::any_of(std::begin(kRanges), std::end(kRanges), [&](const auto& range) {
    return code >= range.first && code <= range.second;
  });
}

bool is_of_kind(char32_t code, CharacterKind kind) {
  const utf8proc_category_t found = category(code);
  switch (kind) {
    case CharacterKind::kAlpha:
      return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
    case CharacterKind::kDecimal:
      return found == UTF8PROC_CATEGORY_ND;
    case CharacterKind::kDigit:
      return found == UTF8PROC_CATEGORY_ND || is_other_digit(code);
    case CharacterKind::kSpace:
      return python_is_space(code);
  }
  return false;
}

bool is_line_end(char32_t code) {
  return (code >= 10 && code <= 13) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

std::vector<std::string> split_at_spaces(std::string_view text, int64_t split_count_max) {
  std::vector<std::string> out;
  text = python_strip(text, StripSide::kLeft);
  while (!text.empty()) {
    if (split_count_max >= 0 && static_cast<int64_t>(out.size()) == split_count_max) {
      out.emplace_back(text);
      break;
    }
    size_t end = 0, next = 0;
    while (end < text.size() && !python_is_space(next_code_point(text, next))) end = next;
    out.emplace_back(text.substr(0, end));
    text = python_strip(text.substr(end), StripSide::kLeft);
  }
  return out;
}

// As split_at_spaces(), but what is left over is the text's beginning, as it is.
std::vector<std::string> rsplit_at_spaces(std::string_view text, int64_t split_count_max) {
  std::vector<std::string> words = split_at_spaces(text, -1);
  if (split_count_max < 0 || std::ssize(words) <= split_count_max) return words;
  words.erase(words.begin(), words.end() - split_count_max);
  text = python_strip(text, StripSide::kRight);
  for (size_t i = words.size(); i-- > 0;)
    text = python_strip(text.substr(0, text.size() - words[i].size()), StripSide::kRight);
  words.insert(words.begin(), std::string(text));
  return words;
}

}  // namespace

bool all_are(std::string_view text, CharacterKind kind) {
  for (size_t i = 0; i < text.size();) {
    if (!is_of_kind(next_code_point(text, i), kind)) return false;
  }
  return !text.empty();
}

int64_t character_count(std::string_view text) {
  int64_t count = 0;
  for (size_t i = 0; i < text.size(); ++count) next_code_point(text, i);
  return count;
}

size_t byte_offset(std::string_view text, int64_t index) {
  size_t i = 0;
  while (index-- > 0 && i < text.size()) next_code_point(text, i);
  return i;
}

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> out;
  check_size(static_cast<int64_t>(text.size()) * 4);
  for (size_t i = 0; i < text.size();) out.push_back(next_code_point(text, i));
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();)
    append_capital(out, next_code_point(text, i), Capital::kUpper);
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  const auto codes = code_points(text);
  for (size_t i = 0; i < codes.size(); ++i) append_lower(out, codes, i);
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  const auto codes = code_points(text);
  for (size_t i = 0; i < codes.size(); ++i)
    i == 0 ? append_capital(out, codes[0], Capital::kTitle) : append_lower(out, codes, i);
  return out;
}

std::string title_case(std::string_view text) {
  std::string out;
  const auto codes = code_points(text);
  bool inside = false;
  for (size_t i = 0; i < codes.size(); ++i) {
    inside ? append_lower(out, codes, i) : append_capital(out, codes[i], Capital::kTitle);
    inside = is_cased(codes[i]);
  }
  return out;
}

std::string filter_title_case(std::string_view text) {
  const auto breaks = [](char32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || python_is_space(c);
  };
  std::string out;
  for (size_t i = 0; i < text.size();) {  // One run of breaking or of other characters.
    size_t end = i, next = i;
    const bool breaking = breaks(next_code_point(text, next));
    while (end < text.size() && breaks(next_code_point(text, next = end)) == breaking) end = next;
    const std::string_view run = text.substr(i, end - i);
    size_t first = 0;
    next_code_point(run, first);
    out += to_upper(run.substr(0, first)) + to_lower(run.substr(first));
    i = end;
  }
  return out;
}

bool is_printable(char32_t code) {
  if (code < 0x7F) return code >= 0x20;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string escaped(char32_t code) {
  const auto number = static_cast<uint32_t>(code);
  return code < 0x100     ? fmt::format("\\x{:02x}", number)
         : code < 0x10000 ? fmt::format("\\u{:04x}", number)
                          : fmt::format("\\U{:08x}", number);
}

bool is_of_case(std::string_view text, Case wanted) {
  bool some = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    const bool has_case = wanted == Case::kUpper ? is_upper(code) : is_lower(code);
    if (is_cased(code) && !has_case) return false;
    some |= has_case;
  }
  return some;
}

std::string_view strip_characters(std::string_view text, std::string_view characters,
                                  StripSide side) {
  spend_steps((1 + static_cast<int64_t>(text.size()) / 64) *
              (1 + static_cast<int64_t>(characters.size()) / 64));
  return python_strip(text, side, characters);
}

std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator,
                               int64_t split_count_max) {
  check_size(static_cast<int64_t>(text.size()));
  if (!separator.has_value()) return split_at_spaces(text, split_count_max);
  if (separator->empty()) raise("ValueError: empty separator");
  std::vector<std::string> out;
  size_t begin = 0;
  for (;;) {
    const bool more = split_count_max < 0 || static_cast<int64_t>(out.size()) < split_count_max;
    const size_t at = more ? text.find(*separator, begin) : std::string_view::npos;
    if (at == std::string_view::npos) break;
    out.emplace_back(text.substr(begin, at - begin));
    begin = at + separator->size();
  }
  out.emplace_back(text.substr(begin));
  return out;
}

std::vector<std::string> rsplit(std::string_view text, std::optional<std::string_view> separator,
                                int64_t split_count_max) {
  check_size(static_cast<int64_t>(text.size()));
  if (!separator.has_value()) return rsplit_at_spaces(text, split_count_max);
  if (separator->empty()) raise("ValueError: empty separator");
  std::vector<std::string> out;
  while (split_count_max < 0 || std::ssize(out) < split_count_max) {
    const size_t at = text.rfind(*separator);
    if (at == std::string_view::npos) break;
    out.emplace_back(text.substr(at + separator->size()));
    text = text.substr(0, at);
  }
  out.emplace_back(text);
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t end = i;
    const char32_t code = next_code_point(text, i);
    if (!is_line_end(code)) continue;
    if (code == '\r' && i < text.size() && text[i] == '\n') ++i;
    out.emplace_back(text.substr(begin, end - begin));
    begin = i;
  }
  if (begin < text.size()) out.emplace_back(text.substr(begin));
  return out;
}

std::string replace(std::string_view text, std::string_view old_text, std::string_view new_text,
                    int64_t count_max) {
  std::string out;
  size_t begin = 0, at = 0;
  for (int64_t count = 0; count_max < 0 || count < count_max; ++count) {
    at = text.find(old_text, at);
    if (at == std::string_view::npos) break;
    out += text.substr(begin, at - begin);
    out += new_text;
    check_size(static_cast<int64_t>(out.size()));
    begin = at + old_text.size();
    at = begin;
    if (old_text.empty()) {  // Between all characters, and at both ends.
      if (at >= text.size()) break;
      next_code_point(text, at);
    }
  }
  return out += text.substr(begin);
}

int64_t count_of(std::string_view text, std::string_view part) {
  if (part.empty()) return character_count(text) + 1;
  int64_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size()))
    ++count;
  return count;
}

std::string repeated(std::string_view text, int64_t count) {
  count = std::max<int64_t>(0, count);
  check_size(count * static_cast<int64_t>(text.size()));
  std::string out;
  for (int64_t i = 0; i < count; ++i) out += text;
  return out;
}

}  // namespace dure::jinja
