// Filters on one value, and the table of all of them.
#include "jinja/filters.h"

#include <algorithm>
#include <cmath>

#include "base/html.h"
#include "jinja/arguments.h"
#include "jinja/format.h"
#include "jinja/operators.h"
#include "jinja/python_string.h"
#include "jinja/to_json.h"

namespace dure::jinja {
namespace {

template <std::string (*Function)(std::string_view)>
Value mapped(const Value& subject, Arguments& arguments) {
  Bound bound("filter", arguments, {});
  return Value(Function(str(subject)));
}

Value filter_abs(const Value& subject, Arguments& arguments) {
  Bound bound("abs", arguments, {});
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_float()) return Value(std::abs(subject.real()));
  if (!subject.is_integral())
    raise("TypeError: bad operand type for abs(): '{}'", type_name(subject));
  return subject.integer() < 0 ? negative(subject) : Value(subject.integer());
}

Value filter_default(const Value& subject, Arguments& arguments) {
  Bound bound("default", arguments, {"default_value", "boolean"});
  const bool replaced = subject.is_undefined() || (bound.flag(1, false) && !truth(subject));
  return replaced ? bound.value(0, Value("")) : subject;
}

Value filter_escape(const Value& subject, Arguments& arguments) {
  Bound bound("escape", arguments, {});
  if (subject.is_string() && subject.string().markup) return subject;
  return Value::markup(escape_html(str(subject)));
}

Value filter_safe(const Value& subject, Arguments& arguments) {
  Bound bound("safe", arguments, {});
  return Value::markup(str(subject));
}

Value filter_format(const Value& subject, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    raise("can't handle positional and keyword arguments at the same time");
  if (arguments.named.empty())
    return Value(format_percent(str(subject), Value::tuple(std::move(arguments.positional))));
  std::vector<std::pair<Value, Value>> items;
  for (auto& [name, value] : arguments.named) items.emplace_back(Value(name), std::move(value));
  return Value(format_percent(str(subject), Value::dict(std::move(items))));
}

// A number of blanks, or the text itself.
std::string indentation(const Bound& bound, size_t argument, int64_t otherwise) {
  if (bound.has(argument) && bound.at(argument).is_string()) return bound.at(argument).text();
  return repeated(" ", bound.integer(argument, otherwise));
}

Value filter_indent(const Value& subject, Arguments& arguments) {
  Bound bound("indent", arguments, {"width", "first", "blank"});
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_string())
    raise("TypeError: unsupported operand type(s) for +=: '{}' and 'str'", type_name(subject));
  const std::string by = indentation(bound, 0, 4);
  const bool blank = bound.flag(2, false);
  std::string out = bound.flag(1, false) ? by : "";
  bool first = true;
  for (const std::string& line : split_lines(subject.text() + "\n", false)) {
    if (!first) out += '\n';
    if (!first && (blank || !line.empty())) out += by;
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

Value filter_int(const Value& subject, Arguments& arguments) {
  Bound bound("int", arguments, {"default"});
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
  if (!real.has_value() || !std::isfinite(*real)) return bound.value(0, Value(0));
  if (std::abs(*real) > 1e38) raise("OverflowError: an integer above 127 bits");
  return Value(static_cast<Int>(*real));
}

Value filter_float(const Value& subject, Arguments& arguments) {
  Bound bound("float", arguments, {"default"});
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_number()) return Value(subject.real());
  const std::optional<double> parsed =
      subject.is_string() ? parse_float(subject.text()) : std::nullopt;
  return parsed.has_value() ? Value(*parsed) : bound.value(0, Value(0.0));
}

Value filter_replace(const Value& subject, Arguments& arguments) {
  Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  const int64_t count_max = bound.given(2) ? bound.integer(2, -1) : -1;
  return Value(replace(str(subject), str(bound.at(0)), str(bound.at(1)), count_max));
}

Value filter_round(const Value& subject, Arguments& arguments) {
  Bound bound("round", arguments, {"precision", "method"});
  const std::string method = bound.has(1) ? bound.text(1) : "common";
  const int64_t precision = bound.integer(0, 0);
  if (method != "common" && method != "ceil" && method != "floor")
    raise("method must be common, ceil or floor");
  if (precision < 0 || precision > 300) raise("round({}) is not supported", precision);
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_number())
    raise("TypeError: type {} doesn't define __round__ method", type_name(subject));
  if (method == "common") {
    if (subject.is_integral()) return Value(subject.integer());
    // Exact decimals, ties to even.
    const Value digits(format_percent(fmt::format("%.{}f", precision), subject));
    return Value(std::strtod(digits.text().c_str(), nullptr));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision)),
               scaled = subject.real() * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value filter_string(const Value& subject, Arguments& arguments) {
  Bound bound("string", arguments, {});
  return subject.is_string() ? subject : Value(str(subject));
}

Value filter_tojson(const Value& subject, Arguments& arguments) {
  Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  ToJsonOptions options;
  options.ensure_ascii = bound.flag(0, false);
  if (bound.given(1)) {
    options.indent = indentation(bound, 1, 0);
    options.item_separator = ",";
  }
  if (bound.given(2)) {
    const std::vector<Value> separators = to_vector(bound.at(2));
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string())
      raise("ValueError: separators should be two strings");
    options.item_separator = separators[0].text();
    options.key_separator = separators[1].text();
  }
  options.sort_keys = bound.flag(3, false);
  return Value(to_json(subject, options));
}

Value filter_trim(const Value& subject, Arguments& arguments) {
  Bound bound("trim", arguments, {"chars"});
  const std::string text = str(subject);
  return Value(bound.given(0) ? strip_characters(text, bound.text(0), StripSide::kBoth)
                              : python_strip(text));
}

Value filter_truncate(const Value& subject, Arguments& arguments) {
  Bound bound("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const std::string end = bound.has(2) ? bound.text(2) : "...";
  const int64_t length = bound.integer(0, 255), leeway = bound.given(3) ? bound.integer(3, 5) : 5,
                end_length = character_count(end);
  if (length < end_length || leeway < 0)
    raise("AssertionError: expected length >= {} and leeway >= 0, got {} and {}", end_length,
          length, leeway);
  if (length_of(subject) <= length + leeway) return subject;
  if (!subject.is_string()) raise("TypeError: truncate wants text, not {}", type_name(subject));
  const std::string cut =
      subject.text().substr(0, byte_offset(subject.text(), length - end_length));
  return Value((bound.flag(1, false) ? cut : rsplit(cut, " ", 1)[0]) + end);
}

constexpr FilterEntry kFilters[] = {
    {"abs", filter_abs},           {"capitalize", mapped<capitalize>},
    {"d", filter_default},         {"default", filter_default},
    {"e", filter_escape},          {"escape", filter_escape},
    {"float", filter_float},       {"format", filter_format},
    {"indent", filter_indent},     {"int", filter_int},
    {"lower", mapped<to_lower>},   {"replace", filter_replace},
    {"round", filter_round},       {"safe", filter_safe},
    {"string", filter_string},     {"title", mapped<filter_title_case>},
    {"tojson", filter_tojson},     {"trim", filter_trim},
    {"truncate", filter_truncate}, {"upper", mapped<to_upper>},
};

}  // namespace

FilterFunction find_filter(std::string_view name) {
  for (const auto table : {std::span<const FilterEntry>(kFilters), sequence_filters()}) {
    for (const FilterEntry& entry : table) {
      if (entry.name == name) return entry.function;
    }
  }
  return nullptr;
}

void raise_unknown(std::string_view what, std::string_view name) {
  throw TemplateError(fmt::format("No {} named '{}'.", what, name), ErrorCode::kUnsupported);
}

}  // namespace dure::jinja
