// Tags and the text between them, then the tokens inside a tag.
#include "jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "base/python_text.h"
#include "jinja/python_string.h"

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
bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
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

  struct Tag {
    size_t begin = std::string::npos, inside = 0;  // Its first byte; what follows the sign.
    char kind = '\0';                              // { % #
    char sign = '\0';                              // - + or none.
  };

  // The next tag of one of these kinds at or after `from`.
  Tag find_tag(std::string_view kinds, size_t from) const {
    for (size_t at = text_.find('{', from); at + 1 < text_.size(); at = text_.find('{', at + 1)) {
      if (at == std::string::npos) break;
      if (kinds.find(text_[at + 1]) == std::string_view::npos) continue;
      const bool is_signed =
          text_.compare(at + 2, 1, "-") == 0 || text_.compare(at + 2, 1, "+") == 0;
      return {at, at + (is_signed ? 3 : 2), text_[at + 1], is_signed ? text_[at + 2] : '\0'};
    }
    return {};
  }

  // Data up to the next tag, and the tag.
  void lex_outside() {
    const Tag tag = find_tag("{%#", at_);
    if (tag.begin == std::string::npos) {
      add_data(std::string(rest()));
      return advance(text_.size() - at_);
    }
    add_stripped_data(tag);
    advance(tag.begin - at_);
    if (tag.kind == '%' && lex_raw(tag)) return;
    if (tag.kind == '#') return lex_comment(tag.inside);
    add(tag.kind == '{' ? Token::kVariableBegin : Token::kBlockBegin, "");
    advance(tag.inside - at_);
    lex_tag(tag.kind == '{' ? '}' : '%');
  }

  void add_data(std::string data) {
    if (!data.empty()) add(Token::kData, std::move(data));
  }

  // What stands before the tag, less what its sign or lstrip_blocks takes.
  void add_stripped_data(const Tag& tag) {
    std::string_view data = rest().substr(0, tag.begin - at_);
    if (tag.sign == '-') {
      data = python_strip(data, StripSide::kRight);
    } else if (tag.sign != '+' && tag.kind != '{') {
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

  // Where a tag that holds only this word ends; npos where it is another one.
  size_t word_tag_end(const Tag& tag, std::string_view word, bool trims_newline) const {
    size_t at = tag.inside + space_size(tag.inside);
    if (text_.compare(at, word.size(), word) != 0) return std::string::npos;
    at += word.size();
    return tag_end(at + space_size(at), '%', trims_newline);
  }

  // {% raw %} ... {% endraw %}; false where the tag is another.
  bool lex_raw(const Tag& raw) {
    const size_t begin = word_tag_end(raw, "raw", false);
    if (begin == std::string::npos) return false;
    const int line = line_;
    advance(begin - at_);
    for (Tag tag = find_tag("%", at_); tag.begin != std::string::npos;
         tag = find_tag("%", tag.begin + 2)) {
      const size_t end = word_tag_end(tag, "endraw", true);
      if (end == std::string::npos) continue;
      add_stripped_data(tag);
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
    if (is_digit(c)) return lex_number();
    if (c == '\'' || c == '"') return lex_string();
    if (is_name_character(c)) return lex_name();
    lex_operator(open);
  }

  void lex_name() {
    size_t end = at_;
    while (end < text_.size() && is_name_character(text_[end])) ++end;
    add(Token::kName, text_.substr(at_, end - at_));
    advance(end - at_);
  }

  size_t digits_end(size_t from) const {
    while (from < text_.size() && is_digit(text_[from])) ++from;
    return from;
  }

  // Decimal integers, and floats with digits after the point or an exponent.
  void lex_number() {
    const size_t integer_end = digits_end(at_);
    size_t end = integer_end;
    if (text_.compare(end, 1, ".") == 0 && digits_end(end + 1) > end + 1) end = digits_end(end + 1);
    if (end < text_.size() && (text_[end] | 0x20) == 'e') {
      const size_t sign = text_.find_first_of("+-", end) == end + 1 ? 1 : 0;
      if (digits_end(end + 1 + sign) > end + 1 + sign) end = digits_end(end + 1 + sign);
    }
    const std::string digits = text_.substr(at_, end - at_);
    if (end < text_.size() && is_name_character(text_[end]))
      fail_here(fmt::format("a number such as '{}{}' is not supported", digits, text_[end]));
    add(end > integer_end ? Token::kFloat : Token::kInteger, "");
    tokens_.back().number =
        end > integer_end ? Value(std::strtod(digits.c_str(), nullptr)) : Value(integer(digits));
    advance(end - at_);
  }

  Int integer(std::string_view digits) const {
    Int value = 0;
    for (const char c : digits) {
      if (__builtin_mul_overflow(value, Int{10}, &value) ||
          __builtin_add_overflow(value, Int{c - '0'}, &value))
        fail_here("an integer above 127 bits");
    }
    return value;
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
  char32_t hex_escape(std::string_view digits, size_t size) const {
    uint32_t code = 0;
    digits = digits.substr(0, size);
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), code, 16);
    if (digits.size() < size || end != digits.end())
      fail_here("a broken \\x, \\u or \\U in a string");
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      fail_here("no character: a surrogate, or above U+10FFFF, in a string");
    return code;
  }

  std::string unescape(std::string_view body) const {
    static constexpr std::string_view kLetters = "abfnrtv\\'\"\n",
                                      kMeanings = "\a\b\f\n\r\t\v\\'\"";
    std::string out;
    for (size_t i = 0; i < body.size();) {
      if (body[i] != '\\' || i + 1 >= body.size()) {
        out += body[i++];
        continue;
      }
      const char c = body[i + 1];
      i += 2;
      const size_t hex_size = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
      const size_t known = kLetters.find(c);
      if (is_digit(c)) fail_here(fmt::format("the escape \\{} is not supported", c));
      if (hex_size > 0)
        append_code_point(out, hex_escape(body.substr(i), hex_size));
      else if (known == std::string_view::npos)
        out += {'\\', c};
      else
        out += kMeanings.substr(known, 1);  // Nothing for a line that goes on.
      i += hex_size;
    }
    return out;
  }

  void lex_operator(std::string& open) {
    static constexpr std::array<std::string_view, 25> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ","};
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
  static constexpr const char* kNames[] = {"template data",
                                           "begin of print statement",
                                           "end of print statement",
                                           "begin of statement block",
                                           "end of statement block",
                                           "",
                                           "string",
                                           "integer",
                                           "float",
                                           "",
                                           "end of template"};
  const std::string name = kNames[static_cast<size_t>(token.token)];
  return name.empty() ? token.text : name;
}

}  // namespace dure::jinja
