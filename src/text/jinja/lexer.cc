#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "text/jinja/python_string.h"
#include "text/python_text.h"

namespace dure::jinja {
namespace {

// \r\n and \r become \n, and one newline at the end goes.
std::string normalise(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int digit_value(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(normalise(source)) {}

  std::vector<LexedToken> run() {
    while (at_ < text_.size()) lex_outside();
    add(Token::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail_here(std::string message) const {
    throw TemplateError(std::move(message), ErrorCode::kInvalidArgument, line_);
  }

  void add(Token token, std::string text) {
    tokens_.push_back({token, line_, std::move(text), Value()});
  }

  void advance(size_t size) {
    line_ += static_cast<int>(std::count(text_.begin() + at_, text_.begin() + at_ + size, '\n'));
    at_ += size;
    if (size > 0) line_starting_ = text_[at_ - 1] == '\n';
  }

  std::string_view rest() const { return std::string_view(text_).substr(at_); }

  size_t space_size(size_t from) const {
    const std::string_view tail = std::string_view(text_).substr(from);
    return tail.size() - python_strip(tail, StripSide::kLeft).size();
  }

  // Data up to the next tag, and the tag.
  void lex_outside() {
    size_t tag = at_;
    while (tag + 1 < text_.size() &&
           !(text_[tag] == '{' &&
             (text_[tag + 1] == '{' || text_[tag + 1] == '%' || text_[tag + 1] == '#'))) {
      ++tag;
    }
    if (tag + 1 >= text_.size()) {
      add_data(std::string(rest()));
      return advance(text_.size() - at_);
    }
    const char kind = text_[tag + 1];
    size_t after = tag + 2;
    const char sign =
        after < text_.size() && (text_[after] == '-' || text_[after] == '+') ? text_[after] : '\0';
    if (sign != '\0') ++after;
    add_stripped_data(tag, sign, kind != '{');
    advance(tag - at_);
    if (kind == '%' && lex_raw(after)) return;
    if (kind == '#') return lex_comment(after);
    add(kind == '{' ? Token::kVariableBegin : Token::kBlockBegin, "");
    advance(after - at_);
    lex_tag(kind == '{' ? '}' : '%');
  }

  void add_data(std::string data) {
    if (!data.empty()) add(Token::kData, std::move(data));
  }

  // text_[at_, end), less what the sign or lstrip_blocks takes.
  void add_stripped_data(size_t end, char sign, bool block) {
    std::string_view data = std::string_view(text_).substr(at_, end - at_);
    if (sign == '-') {
      data = python_strip(data, StripSide::kRight);
    } else if (sign != '+' && block) {
      const size_t newline = data.rfind('\n');
      const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
      const bool at_line_begin = newline != std::string_view::npos || line_starting_;
      if (at_line_begin && python_strip(data.substr(line_begin)).empty())
        data = data.substr(0, line_begin);
    }
    add_data(std::string(data));
  }

  // Where a tag that closes with `closing` + '}' ends, its sign and what it trims included; npos
  // where none is at `from`.
  size_t tag_end(size_t from, char closing, bool trims_newline) const {
    const std::string_view tail = std::string_view(text_).substr(from);
    const char close[] = {closing, '}', '\0'};
    if (tail.starts_with('-') && tail.substr(1).starts_with(close))
      return from + 3 + space_size(from + 3);
    if (trims_newline && tail.starts_with('+') && tail.substr(1).starts_with(close))
      return from + 3;
    if (!tail.starts_with(close)) return std::string::npos;
    return from + 2 + (trims_newline && tail.substr(2).starts_with('\n') ? 1 : 0);
  }

  void lex_comment(size_t from) {
    if (from >= text_.size())
      return advance(text_.size() - at_);  // At the very end, Jinja lets it be.
    for (size_t i = from; i < text_.size(); ++i) {
      const size_t end = tag_end(i, '#', true);
      if (end != std::string::npos) return advance(end - at_);
    }
    fail_here("Missing end of comment tag");
  }

  // {% raw %} ... {% endraw %}; false where the block at at_ is another.
  bool lex_raw(size_t after) {
    size_t i = after + space_size(after);
    if (text_.compare(i, 3, "raw") != 0) return false;
    i += 3;
    i += space_size(i);
    size_t begin = tag_end(i, '%', false);
    if (begin == std::string::npos) return false;
    const int line = line_;
    advance(begin - at_);
    if (at_ >= text_.size()) return true;
    for (size_t tag = text_.find("{%", at_); tag != std::string::npos;
         tag = text_.find("{%", tag + 2)) {
      size_t k = tag + 2;
      const char sign = k < text_.size() && (text_[k] == '-' || text_[k] == '+') ? text_[k] : '\0';
      if (sign != '\0') ++k;
      k += space_size(k);
      if (text_.compare(k, 6, "endraw") != 0) continue;
      k += 6;
      k += space_size(k);
      const size_t end = tag_end(k, '%', true);
      if (end == std::string::npos) continue;
      add_stripped_data(tag, sign, true);
      advance(end - at_);
      return true;
    }
    throw TemplateError("Missing end of raw directive", ErrorCode::kInvalidArgument, line);
  }

  // The inside of a tag, up to and with its end. Ends inside brackets are operators.
  void lex_tag(char closing) {
    std::string open;
    for (;;) {
      advance(space_size(at_));
      if (at_ >= text_.size()) return;  // The parser says what it was waiting for.
      if (open.empty()) {
        const size_t end = tag_end(at_, closing, closing == '%');
        if (end != std::string::npos) {
          add(closing == '}' ? Token::kVariableEnd : Token::kBlockEnd, "");
          return advance(end - at_);
        }
      }
      lex_one(open);
    }
  }

  void lex_one(std::string& open) {
    const char c = text_[at_];
    size_t next = at_;
    if (is_digit(c)) return lex_number();
    if (c == '\'' || c == '"') return lex_string();
    if (is_word_character(next_code_point(text_, next))) return lex_name();
    lex_operator(open);
  }

  void lex_name() {
    size_t end = at_;
    for (size_t next = at_; end < text_.size(); end = next) {
      const char32_t code = next_code_point(text_, next);
      if (!is_word_character(code) && !is_identifier("_" + std::string(text_, end, next - end)))
        break;
    }
    const std::string name = text_.substr(at_, end - at_);
    if (!is_identifier(name)) fail_here("Invalid character in identifier");
    add(Token::kName, name);
    advance(name.size());
  }

  // Length of (\d+_)*\d+ at `from`, 0 where there is none.
  size_t digits_size(size_t from) const {
    size_t i = from;
    while (i < text_.size() &&
           (is_digit(text_[i]) || (text_[i] == '_' && i > from && is_digit(text_[i - 1]) &&
                                   i + 1 < text_.size() && is_digit(text_[i + 1]))))
      ++i;
    return i - from;
  }

  // Length of a float at at_, 0 where it is none.
  size_t float_size() const {
    if (at_ > 0 && text_[at_ - 1] == '.') return 0;
    size_t i = at_ + digits_size(at_);
    bool real = false;
    if (i < text_.size() && text_[i] == '.' && digits_size(i + 1) > 0) {
      i += 1 + digits_size(i + 1);
      real = true;
    }
    if (i < text_.size() && (text_[i] | 0x20) == 'e') {
      size_t k = i + 1;
      if (k < text_.size() && (text_[k] == '+' || text_[k] == '-')) ++k;
      if (digits_size(k) > 0) {
        i = k + digits_size(k);
        real = true;
      }
    }
    return real ? i - at_ : 0;
  }

  void lex_number() {
    if (const size_t size = float_size(); size > 0) {
      std::string digits = text_.substr(at_, size);
      std::erase(digits, '_');
      add(Token::kFloat, "");
      tokens_.back().number = Value(std::strtod(digits.c_str(), nullptr));
      return advance(size);
    }
    int base = 10;
    size_t i = at_;
    const char mark =
        i + 1 < text_.size() && text_[i] == '0' ? static_cast<char>(text_[i + 1] | 0x20) : '\0';
    if (mark == 'x') base = 16;
    if (mark == 'o') base = 8;
    if (mark == 'b') base = 2;
    if (base != 10) i += 2;
    Int value = 0;
    const size_t begin = i;
    for (; i < text_.size(); ++i) {
      if (text_[i] == '_' && i + 1 < text_.size() && digit_value(text_[i + 1]) < base) continue;
      if (digit_value(text_[i]) >= base) break;
      if (base == 10 && text_[begin] == '0' && text_[i] != '0')
        break;  // As Jinja: 07 is 0, then 7.
      if (__builtin_mul_overflow(value, Int{base}, &value) ||
          __builtin_add_overflow(value, Int{digit_value(text_[i])}, &value)) {
        fail_here("an integer above 127 bits");
      }
    }
    add(Token::kInteger, "");
    tokens_.back().number = Value(value);
    advance(i - at_);
  }

  void lex_string() {
    const char quote = text_[at_];
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size())
      fail_here(fmt::format("unexpected char {} (a string that never ends)",
                            repr_of_text(std::string(1, quote))));
    add(Token::kString, unescape(std::string_view(text_).substr(at_ + 1, end - at_ - 1)));
    advance(end + 1 - at_);
  }

  // Digits after \x, \u, \U.
  char32_t hex_escape(std::string_view body, size_t& i, size_t size, char letter) const {
    char32_t code = 0;
    for (size_t k = 0; k < size; ++k) {
      const int digit = i + k < body.size() ? digit_value(body[i + k]) : 99;
      if (digit >= 16) fail_here(fmt::format("truncated \\{} escape in a string", letter));
      code = code * 16 + static_cast<char32_t>(digit);
    }
    i += size;
    if (code > 0x10FFFF) fail_here("illegal Unicode character in a string");
    if (code >= 0xD800 && code < 0xE000)
      fail_here("a surrogate is no character: write the whole one, as \\U0001F600");
    return code;
  }

  std::string unescape(std::string_view body) const {
    std::string out;
    for (size_t i = 0; i < body.size();) {
      if (body[i] != '\\' || i + 1 >= body.size()) {
        out += body[i++];
        continue;
      }
      const char c = body[i + 1];
      i += 2;
      static constexpr std::string_view kLetters = "abfnrtv\\'\"",
                                        kMeanings = "\a\b\f\n\r\t\v\\'\"";
      if (const size_t known = kLetters.find(c); known != std::string_view::npos)
        out += kMeanings[known];
      else if (c == '\n')
        continue;
      else if (c == 'x')
        append_code_point(out, hex_escape(body, i, 2, c));
      else if (c == 'u')
        append_code_point(out, hex_escape(body, i, 4, c));
      else if (c == 'U')
        append_code_point(out, hex_escape(body, i, 8, c));
      else if (c >= '0' && c <= '7')
        append_code_point(out, octal_escape(body, --i));
      else
        out += '\\', out += c;
    }
    return out;
  }

  static char32_t octal_escape(std::string_view body, size_t& i) {
    char32_t code = 0;
    for (int k = 0; k < 3 && i < body.size() && body[i] >= '0' && body[i] <= '7'; ++k)
      code = code * 8 + static_cast<char32_t>(body[i++] - '0');
    return code;
  }

  void lex_operator(std::string& open) {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                    [&](std::string_view one) { return rest().starts_with(one); });
    if (found == kOperators.end()) {
      size_t next = at_;
      next_code_point(text_, next);
      fail_here(fmt::format("unexpected char {}", repr_of_text(text_.substr(at_, next - at_))));
    }
    const char c = (*found)[0];
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) fail_here(fmt::format("unexpected '{}'", c));
      if (open.back() != c)
        fail_here(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
      open.pop_back();
    }
    add(Token::kOperator, std::string(*found));
    advance(found->size());
  }

  std::string text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<LexedToken> tokens_;
};

}  // namespace

std::vector<LexedToken> tokenize(std::string_view source) { return Lexer(source).run(); }

std::string describe(const LexedToken& token) {
  switch (token.token) {
    case Token::kData:
      return "template data";
    case Token::kVariableBegin:
      return "begin of print statement";
    case Token::kVariableEnd:
      return "end of print statement";
    case Token::kBlockBegin:
      return "begin of statement block";
    case Token::kBlockEnd:
      return "end of statement block";
    case Token::kName:
      return token.text;
    case Token::kString:
      return "string";
    case Token::kInteger:
      return "integer";
    case Token::kFloat:
      return "float";
    case Token::kOperator:
      return token.text;
    case Token::kEnd:
      return "end of template";
  }
  return "";
}

}  // namespace dure::jinja
