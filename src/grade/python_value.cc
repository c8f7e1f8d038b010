// A recursive-descent reader of the expressions that calls are written with.
#include "grade/python_value.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/python_text.h"
#include "base/utf8.h"

namespace dure {
namespace {

constexpr const char* kTuple = "\x01tuple";
constexpr int kDepthMax = 200;  // expressions and signs
constexpr std::array kReserved = {
    "False", "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break",
    "class", "continue", "def",   "del",    "elif", "else",   "except", "finally",  "for",
    "from",  "global",   "if",    "import", "in",   "is",     "lambda", "nonlocal", "not",
    "or",    "pass",     "raise", "return", "try",  "while",  "with",   "yield"};

bool is_reserved(const std::string& name) {
  return std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end();
}

// Thrown inside the reader alone.
struct NoPython {};

bool is_name_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || c == '_' || byte >= 0x80;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::vector<PythonCall> calls() {
    std::vector<PythonCall> calls;
    skip_space();
    if (!take('[')) {
      calls.push_back(call());
    } else {
      while (!take(']')) {
        calls.push_back(call());
        if (!take(',') && peek() != ']') throw NoPython();
      }
    }
    skip_space();
    if (at_ != text_.size()) throw NoPython();
    return calls;
  }

 private:
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    skip_space();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void need(char c) {
    if (!take(c)) throw NoPython();
  }
  // Everything is read inside brackets, where lines do not end anything.
  void skip_space() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (std::string_view(" \t\r\n\f").find(text_[at_]) != std::string_view::npos) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string name() {
    skip_space();
    const size_t begin = at_;
    while (at_ < text_.size() && is_name_byte(text_[at_])) ++at_;
    const std::string name(text_.substr(begin, at_ - begin));
    if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) throw NoPython();
    return name;
  }
  std::string dotted_name() {
    std::string whole = name();
    if (is_reserved(whole)) throw NoPython();
    while (take('.')) whole += "." + name();
    return whole;
  }
  PythonCall call() {
    PythonCall call{.name = dotted_name(), .arguments = Json::object()};
    need('(');
    arguments(call);
    return call;
  }
  // Up to the closing bracket. Says whether any had a keyword.
  bool arguments(PythonCall& call) {
    bool keywords = false;
    while (!take(')')) {
      if (const auto keyword = take_keyword()) {
        if (is_reserved(*keyword) || call.arguments.contains(*keyword)) throw NoPython();
        call.arguments[*keyword] = expression();
        keywords = true;
      } else {
        if (keywords) throw NoPython();
        expression();
      }
      if (!take(',') && peek() != ')') throw NoPython();
    }
    return keywords;
  }
  std::optional<std::string> take_keyword() {
    const size_t begin = at_;
    skip_space();
    if (at_ < text_.size() && is_name_byte(text_[at_]) &&
        std::isdigit(static_cast<unsigned char>(text_[at_])) == 0) {
      const std::string keyword = name();
      if (peek() == '=' && !text_.substr(at_).starts_with("==")) {
        ++at_;
        return keyword;
      }
    }
    at_ = begin;
    return std::nullopt;
  }

  // Sums, products, signs, powers, as Python binds them.
  Json expression() {
    if (++depth_ > kDepthMax) throw NoPython();
    Json value = product();
    for (char sign; (sign = peek()) == '+' || sign == '-';) {
      ++at_;
      value = computed(sign, value, product());
    }
    --depth_;
    return value;
  }
  Json product() {
    Json value = signed_value();
    while (true) {
      if (peek() == '*' && !text_.substr(at_).starts_with("**")) {
        ++at_;
        value = computed('*', value, signed_value());
      } else if (take("//")) {
        value = computed('f', value, signed_value());
      } else if (take('/')) {
        value = computed('/', value, signed_value());
      } else if (take('%')) {
        value = computed('%', value, signed_value());
      } else {
        return value;
      }
    }
  }
  // BFCL's decoder negates whatever sign stands before a literal.
  Json signed_value() {
    if (++depth_ > kDepthMax) throw NoPython();
    Json value = signed_power();
    --depth_;
    return value;
  }
  Json signed_power() {
    if (take('-') || take('+')) {
      const Json value = signed_value();
      if (value.is_bool()) return -int64_t{value.as_bool()};
      if (value.is_int()) return -value.as_int();
      if (value.is_number()) return -value.as_double();
      throw NoPython();
    }
    Json value = atom();
    if (take("**")) return computed('^', value, signed_value());
    return value;
  }
  static int64_t floored(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
  }
  // Python refuses what overflows; so do we, where it would count on with larger integers.
  static Json computed(char operation, const Json& a, const Json& b) {
    Json result = computed_value(operation, a, b);
    if (result.is_number() && !std::isfinite(result.as_double())) throw NoPython();
    return result;
  }
  static Json computed_value(char operation, const Json& a, const Json& b) {
    if (operation == '+' && a.is_string() && b.is_string()) return a.as_string() + b.as_string();
    if (!a.is_number() || !b.is_number()) throw NoPython();
    const bool whole = a.is_int() && b.is_int();
    const double x = a.as_double(), y = b.as_double();
    const bool small = std::abs(x) < 1e9 && std::abs(y) < 1e9;
    const auto exact = [&](int64_t i, double d) { return whole && small ? Json(i) : Json(d); };
    const int64_t i = small && whole ? a.as_int() : 0, j = small && whole ? b.as_int() : 1;
    if (std::string_view("/f%").find(operation) != std::string_view::npos && y == 0)
      throw NoPython();
    switch (operation) {
      case '+':
        return exact(i + j, x + y);
      case '-':
        return exact(i - j, x - y);
      case '*':
        return exact(i * j, x * y);
      case '/':
        return x / y;
      case 'f':
        return exact(floored(i, j), std::floor(x / y));
      case '%':
        return exact(i - floored(i, j) * j, x - std::floor(x / y) * y);
      default:
        break;
    }
    const double power = std::pow(x, y);
    return whole && y >= 0 && std::abs(power) < 9e15 ? Json(static_cast<int64_t>(power))
                                                     : Json(power);
  }

  Json atom() {
    const char c = peek();
    if (c == '[') return list_value();
    if (c == '{') return dict_value();
    if (c == '(') return bracketed();
    if (c == '"' || c == '\'') return strings();
    if (std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '.') return number();
    return named();
  }
  Json list_value() {
    need('[');
    Json::Array items;
    while (!take(']')) {
      items.push_back(expression());
      if (!take(',') && peek() != ']') throw NoPython();
    }
    return items;
  }
  Json bracketed() {
    need('(');
    Json::Array items;
    bool comma = false;
    while (!take(')')) {
      items.push_back(expression());
      if (take(',')) {
        comma = true;
      } else if (peek() != ')') {
        throw NoPython();
      }
    }
    return items.size() == 1 && !comma ? items[0] : make_tuple_value(std::move(items));
  }
  // A key that is no text equals none of JSON's.
  Json dict_value() {
    need('{');
    Json dict = Json::object();
    while (!take('}')) {
      const Json key = expression();
      need(':');
      dict[key.is_string() ? key.as_string() : "\x01" + key.dump()] = expression();
      if (!take(',') && peek() != '}') throw NoPython();
    }
    return dict;
  }
  Json number() {
    const size_t begin = at_;
    while (at_ < text_.size() &&
           (is_name_byte(text_[at_]) || text_[at_] == '.' || is_exponent_sign(begin)))
      ++at_;
    std::string digits(text_.substr(begin, at_ - begin));
    std::erase(digits, '_');
    return whole_number(digits);
  }
  bool is_exponent_sign(size_t begin) const {
    return (text_[at_] == '-' || text_[at_] == '+') && at_ > begin &&
           (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E') && text_[begin + 1] != 'x' &&
           text_[begin + 1] != 'X';
  }
  static Json whole_number(const std::string& digits) {
    int base = 10;
    if (digits.size() > 2 && digits[0] == '0') {
      const char kind = static_cast<char>(std::tolower(static_cast<unsigned char>(digits[1])));
      base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    }
    const char* begin = digits.data() + (base == 10 ? 0 : 2);
    const char* end = digits.data() + digits.size();
    int64_t whole = 0;
    const auto read = std::from_chars(begin, end, whole, base);
    if (read.ec == std::errc() && read.ptr == end) {
      const bool leading_zero = base == 10 && digits[0] == '0' && whole != 0;
      if (leading_zero) throw NoPython();
      return whole;
    }
    char* stopped = nullptr;
    const double value = std::strtod(digits.c_str(), &stopped);
    if (base != 10 || *stopped != '\0') throw NoPython();
    return value;
  }

  Json strings() {
    std::string whole = string_literal(false);
    while (peek() == '"' || peek() == '\'') whole += string_literal(false);
    return whole;
  }
  std::string string_literal(bool raw) {
    const char quote = text_[at_];
    const std::string triple(3, quote);
    const bool is_triple = text_.substr(at_).starts_with(triple);
    at_ += is_triple ? 3 : 1;
    const std::string_view close = is_triple ? std::string_view(triple) : text_.substr(at_ - 1, 1);
    std::string out;
    while (!text_.substr(at_).starts_with(close)) {
      if (at_ >= text_.size() || (!is_triple && text_[at_] == '\n')) throw NoPython();
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        raw ? keep_escape(out) : escape(text_[at_ + 1], out);
      } else {
        out += text_[at_++];
      }
    }
    at_ += close.size();
    return out;
  }
  void keep_escape(std::string& out) {
    out += text_.substr(at_, 2);
    at_ += 2;
  }
  // At the backslash; moves past the escape.
  void escape(char kind, std::string& out) {
    constexpr std::string_view kNames = "abfnrtv", kMeant = "\a\b\f\n\r\t\v";
    at_ += 2;
    if (kind == '\n') return;
    if (const size_t i = kNames.find(kind); i != std::string_view::npos) {
      out += kMeant[i];
    } else if (kind == 'x') {
      append_utf8(out, digits(2, 16));
    } else if (kind == 'u') {
      append_utf8(out, digits(4, 16));
    } else if (kind == 'U') {
      append_utf8(out, digits(8, 16));
    } else if (kind >= '0' && kind <= '7') {
      --at_;
      append_utf8(out, octal());
    } else {
      if (kind != '\\' && kind != '\'' && kind != '"') out += '\\';
      out += kind;
    }
  }
  char32_t digits(size_t count, int base) {
    uint32_t code = 0;
    const char* begin = text_.data() + at_;
    if (text_.size() - at_ < count) throw NoPython();
    const auto read = std::from_chars(begin, begin + count, code, base);
    if (read.ec != std::errc() || read.ptr != begin + count || code > 0x10FFFF) throw NoPython();
    at_ += count;
    return code;
  }
  char32_t octal() {
    size_t count = 0;
    while (count < 3 && at_ + count < text_.size() && text_[at_ + count] >= '0' &&
           text_[at_ + count] <= '7')
      ++count;
    return digits(count, 8);
  }

  // Constants, names, and calls and items of names: what cannot be read further is its text.
  Json named() {
    skip_space();
    const size_t begin = at_;
    const std::string word = name();
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) return prefixed(word);
    if (word == "True" || word == "False") return word == "True";
    if (word == "None") return nullptr;
    if (is_reserved(word)) throw NoPython();
    at_ = begin;
    PythonCall call{.name = dotted_name(), .arguments = Json::object()};
    if (take('(')) {
      if (!arguments(call)) return std::string(text_.substr(begin, at_ - begin));
      Json nested = Json::object();
      nested[call.name] = std::move(call.arguments);
      return nested;
    }
    if (take('[')) {
      expression();
      need(']');
      return std::string(text_.substr(begin, at_ - begin));
    }
    if (call.name != word) throw NoPython();  // an attribute's value is not known
    return word;
  }
  Json prefixed(const std::string& prefix) {
    if (prefix == "r" || prefix == "R") return string_literal(true);
    if (prefix == "u" || prefix == "U") return string_literal(false);
    throw NoPython();
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

bool equal_arrays(const Json::Array& a, const Json::Array& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), python_equal);
}

bool equal_dicts(const Json& a, const Json& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a.as_object()) {
    const Json* other = b.find(key);
    if (other == nullptr || !python_equal(value, *other)) return false;
  }
  return true;
}

}  // namespace

std::optional<std::vector<PythonCall>> read_python_calls(std::string_view text) {
  try {
    return Reader(text).calls();
  } catch (const NoPython&) {
    return std::nullopt;
  }
}

Json make_tuple_value(Json::Array items) {
  Json tuple = Json::object();
  tuple[kTuple] = std::move(items);
  return tuple;
}

bool is_tuple(const Json& value) { return value.size() == 1 && value.contains(kTuple); }

const char* python_type(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return "NoneType";
    case Json::Kind::kBool:
      return "bool";
    case Json::Kind::kInt:
      return "int";
    case Json::Kind::kDouble:
      return "float";
    case Json::Kind::kString:
      return "str";
    case Json::Kind::kArray:
      return "list";
    case Json::Kind::kObject:
      return is_tuple(value) ? "tuple" : "dict";
  }
  return "";
}

std::string python_lower(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (code == 0x130) {
      out += "i\u0307";
    } else {
      append_code_point(
          out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
    }
  }
  return out;
}

bool python_equal(const Json& a, const Json& b) {
  const auto number = [](const Json& value) {
    return value.is_bool() ? Json(int64_t{value.as_bool()}) : value;
  };
  const Json x = number(a), y = number(b);
  if (x.is_number() && y.is_number())
    return x.is_int() && y.is_int() ? x.as_int() == y.as_int() : x.as_double() == y.as_double();
  if (a.is_array() && b.is_array()) return equal_arrays(a.as_array(), b.as_array());
  if (a.is_object() && b.is_object()) return equal_dicts(a, b);
  return a == b;
}

}  // namespace dure
