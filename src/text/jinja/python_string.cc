#include "text/jinja/python_string.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/jinja/budget.h"

namespace dure::jinja {
namespace {

utf8proc_category_t category(char32_t code) {
  return code >= 0xDC80 && code < 0xDD00 ? UTF8PROC_CATEGORY_CS
                                         : utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool is_letter(char32_t code) {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}
bool is_number_character(char32_t code) {
  const auto c = category(code);
  return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}
bool is_upper(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LU; }
bool is_lower(char32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LL || code == 0xAA || code == 0xBA;
}
bool is_title(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LT; }
bool is_cased(char32_t code) { return is_upper(code) || is_lower(code) || is_title(code); }

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

const SpecialCase* special_case(char32_t code) {
  if (code < 0xDF) return nullptr;
  const auto* found = std::find_if(std::begin(kSpecialCases), std::end(kSpecialCases),
                                   [&](const SpecialCase& one) { return one.code == code; });
  return found != std::end(kSpecialCases) ? found : nullptr;
}

bool is_raw_byte(char32_t code) { return code >= 0xDC80 && code < 0xDD00; }

void append_upper(std::string& out, char32_t code) {
  if (const SpecialCase* special = special_case(code))
    out += special->upper;
  else
    append_code_point(
        out, is_raw_byte(code)
                 ? code
                 : static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
}

void append_title(std::string& out, char32_t code) {
  if (const SpecialCase* special = special_case(code))
    out += special->title;
  else
    append_code_point(
        out, is_raw_byte(code)
                 ? code
                 : static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
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
    append_code_point(
        out, is_raw_byte(code)
                 ? code
                 : static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
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

std::vector<std::string> rsplit_at_spaces(std::string_view text, int64_t split_count_max) {
  if (split_count_max < 0) return split_at_spaces(text, -1);
  std::vector<std::string> out;
  text = python_strip(text, StripSide::kRight);
  while (!text.empty()) {
    if (static_cast<int64_t>(out.size()) == split_count_max) {
      out.emplace_back(text);
      break;
    }
    size_t word = 0;  // Where the last word begins.
    for (size_t i = 0; i < text.size();) {
      if (python_is_space(next_code_point(text, i))) word = i;
    }
    out.emplace_back(text.substr(word));
    text = python_strip(text.substr(0, word), StripSide::kRight);
    spend_for_bytes(static_cast<int64_t>(text.size()));
  }
  std::reverse(out.begin(), out.end());
  return out;
}

template <typename Predicate>
bool all_and_not_empty(std::string_view text, Predicate predicate) {
  for (size_t i = 0; i < text.size();) {
    if (!predicate(next_code_point(text, i))) return false;
  }
  return !text.empty();
}

// islower() and isupper(): some letter has the case, and none has the other.
bool is_all_of_case(std::string_view text, bool upper) {
  bool some = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (is_title(code) || (upper ? is_lower(code) : is_upper(code))) return false;
    some |= upper ? is_upper(code) : is_lower(code);
  }
  return some;
}

bool is_title_text(std::string_view text) {
  bool some = false, previous_cased = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (is_upper(code) || is_title(code)) {
      if (previous_cased) return false;
      some = previous_cased = true;
    } else if (is_lower(code)) {
      if (!previous_cased) return false;
      some = true;
    } else {
      previous_cased = false;
    }
  }
  return some;
}

bool is_digit(char32_t code) {
  return category(code) == UTF8PROC_CATEGORY_ND || code == 0xB2 || code == 0xB3 || code == 0xB9 ||
         code == 0x2070 || (code >= 0x2074 && code <= 0x2079) ||
         (code >= 0x2080 && code <= 0x2089) || (code >= 0x2460 && code <= 0x2468);
}

}  // namespace

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
  for (size_t i = 0; i < text.size();) append_upper(out, next_code_point(text, i));
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  const auto codes = code_points(text);
  for (size_t i = 0; i < codes.size(); ++i) append_lower(out, codes, i);
  return out;
}

std::string to_casefold(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    utf8proc_int32_t folded[8];
    int boundary = 0;
    const auto count = is_raw_byte(code)
                           ? 0
                           : utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), folded, 8,
                                                     UTF8PROC_CASEFOLD, &boundary);
    if (count <= 0) append_code_point(out, code);
    for (int k = 0; k < count && k < 8; ++k)
      append_code_point(out, static_cast<char32_t>(folded[k]));
  }
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  const auto codes = code_points(text);
  for (size_t i = 0; i < codes.size(); ++i) {
    if (is_upper(codes[i]))
      append_lower(out, codes, i);
    else if (is_lower(codes[i]))
      append_upper(out, codes[i]);
    else
      append_code_point(out, codes[i]);
  }
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  const auto codes = code_points(text);
  for (size_t i = 0; i < codes.size(); ++i)
    i == 0 ? append_title(out, codes[0]) : append_lower(out, codes, i);
  return out;
}

std::string title_case(std::string_view text) {
  std::string out;
  const auto codes = code_points(text);
  bool inside = false;
  for (size_t i = 0; i < codes.size(); ++i) {
    inside ? append_lower(out, codes, i) : append_title(out, codes[i]);
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

bool is_word_character(char32_t code) {
  return code == '_' || is_letter(code) || is_number_character(code);
}

bool is_identifier(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const bool first = i == 0;
    const char32_t code = next_code_point(text, i);
    const auto c = category(code);
    const bool starts = code == '_' || is_letter(code) || c == UTF8PROC_CATEGORY_NL;
    const bool goes_on = starts || c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC ||
                         c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_PC || code == 0xB7;
    if (!(first ? starts : goes_on)) return false;
  }
  return !text.empty();
}

bool is_of_class(std::string_view text, std::string_view name) {
  if (name == "upper") return is_all_of_case(text, true);
  if (name == "lower") return is_all_of_case(text, false);
  if (name == "title") return is_title_text(text);
  if (name == "identifier") return is_identifier(text);
  if (name == "ascii")
    return text.empty() || all_and_not_empty(text, [](char32_t c) { return c < 0x80; });
  if (name == "printable") return text.empty() || all_and_not_empty(text, is_printable);
  if (name == "alpha") return all_and_not_empty(text, is_letter);
  if (name == "space") return all_and_not_empty(text, python_is_space);
  if (name == "digit") return all_and_not_empty(text, is_digit);
  if (name == "decimal")
    return all_and_not_empty(text, [](char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; });
  if (name == "numeric") return all_and_not_empty(text, is_number_character);
  return all_and_not_empty(
      text, [](char32_t c) { return is_letter(c) || is_number_character(c); });  // alnum
}

std::string_view strip_characters(std::string_view text, std::string_view characters,
                                  StripSide side) {
  const auto set = code_points(characters);
  const auto stripped = [&](char32_t c) {
    return std::find(set.begin(), set.end(), c) != set.end();
  };
  spend_for_bytes(static_cast<int64_t>(text.size()));
  size_t begin = 0, end = text.size();
  while (side != StripSide::kRight && begin < end) {
    size_t next = begin;
    if (!stripped(next_code_point(text, next))) break;
    begin = next;
    spend_steps(1 + static_cast<int64_t>(set.size()) / 64);
  }
  while (side != StripSide::kLeft && end > begin) {
    size_t start = end - 1;  // The character before `end`: at most four bytes back.
    for (size_t back = 1; back <= 4 && back <= end - begin; ++back) {
      size_t next = end - back;
      next_code_point(text, next);
      if (next == end) start = end - back;
    }
    size_t next = start;
    if (!stripped(next_code_point(text, next))) break;
    end = start;
    spend_steps(1 + static_cast<int64_t>(set.size()) / 64);
  }
  return text.substr(begin, end - begin);
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
  if (!separator.has_value()) return rsplit_at_spaces(text, split_count_max);
  if (separator->empty()) raise("ValueError: empty separator");
  std::vector<std::string> out;
  for (;;) {
    const bool more = split_count_max < 0 || static_cast<int64_t>(out.size()) < split_count_max;
    const size_t at = more ? text.rfind(*separator) : std::string_view::npos;
    if (at == std::string_view::npos) break;
    out.emplace_back(text.substr(at + separator->size()));
    text = text.substr(0, at);
  }
  out.emplace_back(text);
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t end = i;
    const char32_t code = next_code_point(text, i);
    if (!is_line_end(code)) continue;
    if (code == '\r' && i < text.size() && text[i] == '\n') ++i;
    out.emplace_back(text.substr(begin, (keep_ends ? i : end) - begin));
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

std::string expand_tabs(std::string_view text, int64_t tab_size) {
  std::string out;
  int64_t column = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const char32_t code = next_code_point(text, i);
    if (code == '\t') {
      const int64_t count = tab_size > 0 ? tab_size - column % tab_size : 0;
      check_size(static_cast<int64_t>(out.size()) + count);
      out.append(static_cast<size_t>(count), ' ');
      column += count;
    } else {
      out += text.substr(start, i - start);
      column = code == '\n' || code == '\r' ? 0 : column + 1;
    }
  }
  return out;
}

std::string pad(std::string_view text, int64_t width, Align align, std::string_view fill) {
  const int64_t count = width - character_count(text);
  if (count <= 0) return std::string(text);
  check_size(static_cast<int64_t>(text.size()) + count * static_cast<int64_t>(fill.size()));
  int64_t left = align == Align::kRight ? count : 0;
  if (align == Align::kCenter) left = count / 2 + (count & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < count; ++i) out += fill;
  return out;
}

}  // namespace dure::jinja
