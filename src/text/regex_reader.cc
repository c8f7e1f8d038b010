// Counts in braces, and escapes that stand for one character, by Oniguruma's rules.
#include "text/regex_reader.h"

#include <utility>

#include "base/error.h"
#include "text/unicode.h"

namespace dure {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

void PatternReader::refuse(size_t where, std::string_view what) const {
  fail(ErrorCode::kInvalidArgument, "{}: pattern {} cannot be used: {} (at byte {} of {})", source_,
       pattern_.substr(0, 200), what, where, pattern_.size());
}

void PatternReader::unsupported(size_t begin, std::string_view why) const {
  refuse(begin, fmt::format("{} {}", pattern_.substr(begin, at_ - begin), why));
}

bool PatternReader::take(std::string_view text) {
  if (!next_is(text)) return false;
  at_ += text.size();
  return true;
}

char32_t PatternReader::take_char() {
  if (!more()) refuse(at_, "it ends in the middle");
  const Char c = CharTable::get().at(pattern_.data() + at_);
  at_ += static_cast<size_t>(c.length);
  return c.code;
}

bool PatternReader::interval(std::string& quantifier) {
  size_t i = at_ + 1;
  std::string low, high;
  while (i < pattern_.size() && is_digit(pattern_[i])) low += pattern_[i++];
  const bool comma = i < pattern_.size() && pattern_[i] == ',';
  if (comma) ++i;
  while (comma && i < pattern_.size() && is_digit(pattern_[i])) high += pattern_[i++];
  if (i >= pattern_.size() || pattern_[i] != '}' || (low.empty() && high.empty())) return false;
  const size_t begin = std::exchange(at_, i + 1);
  if (low.size() > 5 || high.size() > 5) unsupported(begin, "repeats more often than 65535 times");
  if (!low.empty() && !high.empty() && std::stoi(low) > std::stoi(high))
    unsupported(begin, "counts down");
  quantifier = "{" + (low.empty() ? "0" : low) + (comma ? "," + high : "") + "}";
  return true;
}

void PatternReader::name_of_group(char closing) {
  const size_t end = pattern_.find(closing, at_);
  if (end == std::string_view::npos || end == at_) refuse(at_, "a group's name without its end");
  at_ = end + 1;
}

char32_t PatternReader::hex_char(size_t begin) {
  const bool braces = take("{");
  const size_t digits_max = braces ? 8 : pattern_[at_ - 1] == 'u' ? 4 : 2;
  uint32_t code = 0;
  size_t digits = 0;
  for (; digits < digits_max && more(); ++digits) {
    const char c = peek();
    const char lower = static_cast<char>(c | 0x20);
    if (!is_digit(c) && !(lower >= 'a' && lower <= 'f')) break;
    code = code * 16 + static_cast<uint32_t>(is_digit(c) ? c - '0' : lower - 'a' + 10);
    ++at_;
  }
  if (digits == 0 || (braces && !take("}"))) unsupported(begin, "is no character's number");
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) unsupported(begin, "is no character");
  if (!braces && digits_max == 2 && code >= 0x80) unsupported(begin, "is a byte, no character");
  return code;
}

char32_t PatternReader::escaped_char(bool in_class) {
  const size_t begin = at_++;
  if (!more()) refuse(begin, "a \\ at its end");
  const char c = peek();
  if (static_cast<unsigned char>(c) >= 0x80) return take_char();
  ++at_;
  switch (c) {
    case 't':
      return '\t';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case 'a':
      return '\a';
    case 'e':
      return 0x1B;
    case 'x':
    case 'u':
      return hex_char(begin);
    case 'b':
      if (in_class) return '\b';
      break;
    case '0': {
      uint32_t code = 0;
      for (int digits = 0; digits < 2 && peek() >= '0' && peek() <= '7' && more(); ++digits)
        code = code * 8 + static_cast<uint32_t>(pattern_[at_++] - '0');
      return code;
    }
    default:
      break;
  }
  // Letters that stand for themselves, \Q among them, which begins a quotation to PCRE2.
  if (std::string_view("EFIJLQTUVijlmq").find(c) != std::string_view::npos)
    return static_cast<unsigned char>(c);
  if (is_letter(c) || is_digit(c)) unsupported(begin, "is not supported");
  return static_cast<unsigned char>(c);
}

}  // namespace dure
