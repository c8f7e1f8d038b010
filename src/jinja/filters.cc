// Filters on one value, and the table of all of them.
#include <algorithm>
#include <cmath>

#include "base/html.h"
#include "jinja/builtin.h"
#include "jinja/format.h"
#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

template <std::string (*Function)(std::string_view)>
Value mapped(const Value& subject, const Bound&) {
  return Value(Function(str(subject)));
}

Value filter_abs(const Value& subject, const Bound& arguments) {
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_float()) return Value(std::abs(subject.real()));
  if (!subject.is_integral())
    raise("TypeError: bad operand type for abs(): '{}'", type_name(subject));
  return subject.integer() < 0 ? negative(subject) : Value(subject.integer());
}

Value filter_default(const Value& subject, const Bound& arguments) {
  const bool replaced = subject.is_undefined() || (arguments.flag(1) && !truth(subject));
  return replaced ? arguments.value(0, Value("")) : subject;
}

Value filter_escape(const Value& subject, const Bound&) {
  if (subject.is_string() && subject.string().markup) return subject;
  return Value::markup(escape_html(str(subject)));
}

Value filter_format(const Value& subject, const Bound& arguments) {
  if (!arguments.all().named.empty()) raise("format with named arguments is not supported");
  return Value(format_percent(str(subject), Value::tuple(arguments.all().positional)));
}

Value filter_indent(const Value& subject, const Bound& arguments) {
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_string())
    raise("TypeError: unsupported operand type(s) for +=: '{}' and 'str'", type_name(subject));
  const std::string by = arguments.indentation(0, 4);
  std::string out = arguments.flag(1) ? by : "";
  bool first = true;
  for (const std::string& line : split_lines(subject.text() + "\n")) {
    if (!first) out += '\n';
    if (!first && !line.empty()) out += by;
    out += line;
    first = false;
    check_size(static_cast<int64_t>(out.size()));
  }
  return subject.string().markup ? Value::markup(std::move(out)) : Value(std::move(out));
}

// The text of a number without its blanks and the "_" between its digits.
std::string number_text(std::string_view given) {
  std::string out;
  const std::string_view text = python_strip(given);
  const auto digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_' || i == 0 || !digit(i - 1) || !digit(i + 1)) out += text[i];
  }
  return out;
}

std::optional<Int> parse_int(std::string_view given) {
  std::string text = number_text(given);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.erase(0, 1);
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  Int value = 0;
  for (const char c : text) {
    if (__builtin_mul_overflow(value, Int{10}, &value) ||
        __builtin_add_overflow(value, Int{c - '0'}, &value))
      raise("OverflowError: an integer above 127 bits");
  }
  return negative ? -value : value;
}

std::optional<double> parse_float(std::string_view given) {
  const std::string text = number_text(given);
  // C reads hexadecimal and "nan(...)" too.
  if (text.empty() || text.find_first_of("xX()") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size() ? std::optional<double>(value) : std::nullopt;
}

Value filter_int(const Value& subject, const Bound& arguments) {
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_integral()) return Value(subject.integer());
  std::optional<double> real;
  if (subject.is_float()) {
    real = subject.real();
    if (std::isinf(*real)) raise("OverflowError: cannot convert float infinity to integer");
  } else if (subject.is_string()) {
    if (const std::optional<Int> number = parse_int(subject.text())) return Value(*number);
    real = parse_float(subject.text());
  }
  if (!real.has_value() || !std::isfinite(*real)) return arguments.value(0, Value(0));
  if (std::abs(*real) > 1e38) raise("OverflowError: an integer above 127 bits");
  return Value(static_cast<Int>(*real));
}

Value filter_float(const Value& subject, const Bound& arguments) {
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_number()) return Value(subject.real());
  const std::optional<double> parsed =
      subject.is_string() ? parse_float(subject.text()) : std::nullopt;
  return parsed.has_value() ? Value(*parsed) : Value(0.0);
}

Value filter_round(const Value& subject, const Bound& arguments) {
  const int64_t precision = arguments.integer(0, 0);
  if (precision < 0 || precision > 300) raise("round({}) is not supported", precision);
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_number())
    raise("TypeError: type {} doesn't define __round__ method", type_name(subject));
  if (subject.is_integral()) return Value(subject.integer());
  // Exact decimals, ties to even.
  const std::string digits = format_percent(fmt::format("%.{}f", precision), subject);
  return Value(std::strtod(digits.c_str(), nullptr));
}

Value filter_trim(const Value& subject, const Bound& arguments) {
  const std::string text = str(subject);
  return Value(arguments.given(0) ? strip_characters(text, arguments.text(0), StripSide::kBoth)
                                  : python_strip(text));
}

Value filter_truncate(const Value& subject, const Bound& arguments) {
  const std::string end = arguments.has(2) ? arguments.text(2) : "...";
  const int64_t length = arguments.integer(0, 255), end_length = character_count(end), leeway = 5;
  if (length < end_length)
    raise("AssertionError: expected length >= {}, got {}", end_length, length);
  if (length_of(subject) <= length + leeway) return subject;
  if (!subject.is_string()) raise("TypeError: truncate wants text, not {}", type_name(subject));
  const std::string cut =
      subject.text().substr(0, byte_offset(subject.text(), length - end_length));
  return Value((arguments.flag(1) ? cut : cut.substr(0, cut.rfind(' '))) + end);
}

using V = const Value&;
using B = const Bound&;
constexpr Builtin kFilters[] = {
    {"abs", "", filter_abs},
    {"capitalize", "", mapped<capitalize>},
    {"d", "[default_value] [boolean]", filter_default},
    {"default", "[default_value] [boolean]", filter_default},
    {"e", "", filter_escape},
    {"escape", "", filter_escape},
    {"float", "", filter_float},
    {"format", "*", filter_format},
    {"indent", "[width] [first]", filter_indent},
    {"int", "[default]", filter_int},
    {"lower", "", mapped<to_lower>},
    {"replace", "old new",
     [](V v, B b) { return Value(replace(str(v), str(b.at(0)), str(b.at(1)), -1)); }},
    {"round", "[precision]", filter_round},
    {"safe", "", [](V v, B) { return Value::markup(str(v)); }},
    {"string", "", [](V v, B) { return v.is_string() ? v : Value(str(v)); }},
    {"title", "", mapped<filter_title_case>},
    {"tojson", "[ensure_ascii] [indent] [separators] [sort_keys]", filter_tojson},
    {"trim", "[chars]", filter_trim},
    {"truncate", "[length] [killwords] [end]", filter_truncate},
    {"upper", "", mapped<to_upper>},
};

}  // namespace

const Builtin* find_filter(std::string_view name) {
  const Builtin* found = find_builtin(kFilters, name);
  return found != nullptr ? found : find_builtin(sequence_filters(), name);
}

}  // namespace dure::jinja
