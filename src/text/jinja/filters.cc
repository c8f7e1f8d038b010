// Filters on one value, and the table of all of them. Filters over sequences: sequence_filters.cc.
#include "text/jinja/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/arguments.h"
#include "text/jinja/escape.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_string.h"
#include "text/jinja/sequence_filters.h"
#include "text/jinja/to_json.h"

namespace dure::jinja {
namespace {

template <std::string (*Function)(std::string_view)>
Value mapped(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("filter", arguments, {});
  return Value(Function(str(subject)));
}

Value filter_abs(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("abs", arguments, {});
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_float()) return Value(std::abs(subject.real()));
  if (!subject.is_integral())
    raise("TypeError: bad operand type for abs(): '{}'", type_name(subject));
  return subject.integer() < 0 ? negative(subject) : positive(subject);
}

Value filter_attr(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("attr", arguments, {"name"}, 1);
  if (subject.is_dict() && !find_attribute(subject, bound.text(0)).has_value()) {
    return Value::undefined(fmt::format("'dict object' has no attribute '{}'", bound.text(0)));
  }
  return get_attribute(subject, bound.text(0));
}

Value filter_center(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("center", arguments, {"width"});
  return Value(pad(str(subject), bound.integer(0, 80), Align::kCenter));
}

Value filter_default(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("default", arguments, {"default_value", "boolean"});
  const bool replaced = subject.is_undefined() || (bound.flag(1, false) && !truth(subject));
  return replaced ? bound.value(0, Value("")) : subject;
}

Value filter_escape(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("escape", arguments, {});
  if (subject.is_string() && subject.string().markup) return subject;
  return Value::markup(escape_html(str(subject)));
}

Value filter_forceescape(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("forceescape", arguments, {});
  return Value::markup(escape_html(str(subject)));
}

Value filter_safe(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("safe", arguments, {});
  return Value::markup(str(subject));
}

Value filter_filesizeformat(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("filesizeformat", arguments, {"value", "binary"});
  if (!subject.is_number())
    raise("TypeError: filesizeformat wants a number, not {}", type_name(subject));
  const bool binary = bound.flag(0, false);
  const double base = binary ? 1024 : 1000, bytes = subject.real();
  if (bytes == 1) return Value("1 Byte");
  if (bytes < base) return Value(fmt::format("{} Bytes", static_cast<int64_t>(bytes)));
  double unit = base;
  size_t i = 0;
  while (i < 7 && bytes >= unit * base) unit *= base, ++i;
  const char* prefixes[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
  return Value(fmt::format("{:.1f} {}{}", bytes / unit, binary && i == 0 ? "K" : prefixes[i],
                           binary ? "iB" : "B"));
}

Value filter_format(Context&, const Value& subject, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    raise("can't handle positional and keyword arguments at the same time");
  if (arguments.named.empty())
    return Value(format_percent(str(subject), Value::tuple(std::move(arguments.positional))));
  std::vector<std::pair<Value, Value>> items;
  for (auto& [name, value] : arguments.named) items.emplace_back(Value(name), std::move(value));
  return Value(format_percent(str(subject), Value::dict(std::move(items))));
}

Value filter_indent(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("indent", arguments, {"width", "first", "blank"});
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_string())
    raise("TypeError: unsupported operand type(s) for +=: '{}' and 'str'", type_name(subject));
  const std::string by = bound.has(0) && bound.at(0).is_string()
                             ? bound.at(0).text()
                             : pad("", bound.integer(0, 4), Align::kLeft);
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

// int("0x1f", 16) and its kin; nothing where the text is no integer.
std::optional<Int> parse_int(std::string_view text, int64_t base) {
  text = python_strip(text);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto prefix_base = [&]() -> int64_t {
    if (text.size() < 2 || text[0] != '0') return 0;
    const char mark = static_cast<char>(text[1] | 0x20);
    return mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  }();
  if (prefix_base != 0 && (base == 0 || base == prefix_base)) {
    text.remove_prefix(2);
    if (text.starts_with('_')) text.remove_prefix(1);
    base = prefix_base;
  }
  const bool zeros_only = base == 0;
  if (base == 0) base = 10;
  Int value = 0;
  bool digit_before = false;
  for (const char c : text) {
    if (c == '_' && digit_before) {
      digit_before = false;
      continue;
    }
    const char lower = static_cast<char>(c | 0x20);
    const int digit = c >= '0' && c <= '9'           ? c - '0'
                      : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10
                                                     : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, Int{base}, &value) ||
        __builtin_add_overflow(value, Int{digit}, &value))
      raise("OverflowError: an integer above 127 bits");
    digit_before = true;
  }
  if (!digit_before || (zeros_only && value != 0 && text[0] == '0')) return std::nullopt;
  return negative ? -value : value;
}

std::optional<double> parse_float(std::string_view given) {
  std::string text(python_strip(given));
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t k) {
      return k < text.size() && text[k] >= '0' && text[k] <= '9';
    };
    if (text[i] == '_' && i > 0 && digit(i - 1) && digit(i + 1)) text.erase(i, 1);
  }
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.erase(0, 1);
  const std::string word = to_lower(text);
  double value = 0;
  if (word == "inf" || word == "infinity")
    value = INFINITY;
  else if (word == "nan")
    value = NAN;
  else {
    if (text.empty() || !((text[0] >= '0' && text[0] <= '9') || text[0] == '.'))
      return std::nullopt;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end != text.data() + text.size() || error == std::errc::invalid_argument)
      return std::nullopt;
    if (error == std::errc::result_out_of_range) value = std::strtod(text.c_str(), nullptr);
  }
  return negative ? -value : value;
}

Value filter_int(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("int", arguments, {"default", "base"});
  const Value otherwise = bound.value(0, Value(0));
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_integral()) return Value(subject.integer());
  std::optional<double> real;
  if (subject.is_float()) {
    real = subject.real();
    if (std::isinf(*real)) raise("OverflowError: cannot convert float infinity to integer");
  } else if (subject.is_string()) {
    if (const std::optional<Int> number = parse_int(subject.text(), bound.integer(1, 10)))
      return Value(*number);
    real = parse_float(subject.text());
  }
  if (!real.has_value() || !std::isfinite(*real)) return otherwise;
  if (std::abs(*real) > 1e38) raise("OverflowError: an integer above 127 bits");
  return Value(static_cast<Int>(*real));
}

Value filter_float(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("float", arguments, {"default"});
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_number()) return Value(subject.real());
  const std::optional<double> parsed =
      subject.is_string() ? parse_float(subject.text()) : std::nullopt;
  return parsed.has_value() ? Value(*parsed) : bound.value(0, Value(0.0));
}

Value filter_replace(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  const int64_t count_max = bound.given(2) ? bound.integer(2, -1) : -1;
  return Value(replace(str(subject), str(bound.at(0)), str(bound.at(1)), count_max));
}

double round_to(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 340) return value;
  if (precision < -310) return std::copysign(0.0, value);
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(value / unit) * unit;
  }
  char text[1024];
  std::snprintf(text, sizeof text, "%.*f", static_cast<int>(precision),
                value);  // Exact decimal, ties to even.
  return std::strtod(text, nullptr);
}

Value round_int(Int value, int64_t precision) {
  if (precision >= 0) return Value(value);
  if (precision < -38) return Value(0);
  Int unit = 1;
  for (int64_t i = 0; i < -precision; ++i) unit *= 10;
  Int rest = value % unit;
  if (rest < 0) rest += unit;
  const Int low = value - rest;
  const bool up = rest * 2 > unit || (rest * 2 == unit && (low / unit) % 2 != 0);
  return Value(up ? low + unit : low);
}

Value filter_round(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("round", arguments, {"precision", "method"});
  const std::string method = bound.has(1) ? bound.text(1) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    raise("method must be common, ceil or floor");
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_number())
    raise("TypeError: type {} doesn't define __round__ method", type_name(subject));
  const int64_t precision = bound.integer(0, 0);
  if (method == "common")
    return subject.is_float() ? Value(round_to(subject.real(), precision))
                              : round_int(subject.integer(), precision);
  const double scale = std::pow(10.0, static_cast<double>(precision)),
               scaled = subject.real() * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value filter_string(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("string", arguments, {});
  return subject.is_string() ? subject : Value(str(subject));
}

Value filter_tojson(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  ToJsonOptions options;
  options.ensure_ascii = bound.flag(0, false);
  if (bound.given(1)) {
    options.indent =
        bound.at(1).is_string() ? bound.at(1).text() : pad("", bound.integer(1, 0), Align::kLeft);
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

Value filter_trim(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("trim", arguments, {"chars"});
  const std::string text = str(subject);
  return Value(bound.given(0) ? strip_characters(text, bound.text(0), StripSide::kBoth)
                              : python_strip(text));
}

Value filter_truncate(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const std::string end = bound.has(2) ? bound.text(2) : "...";
  const int64_t length = bound.integer(0, 255), leeway = bound.given(3) ? bound.integer(3, 5) : 5,
                end_length = character_count(end);
  if (length < end_length)
    raise("AssertionError: expected length >= {}, got {}", end_length, length);
  if (leeway < 0) raise("AssertionError: expected leeway >= 0, got {}", leeway);
  if (length_of(subject) <= length + leeway) return subject;
  if (!subject.is_string()) raise("TypeError: truncate wants text, not {}", type_name(subject));
  const std::string cut =
      subject.text().substr(0, byte_offset(subject.text(), length - end_length));
  if (bound.flag(1, false)) return Value(cut + end);
  return Value(rsplit(cut, " ", 1)[0] + end);
}

std::string url_quote(const Value& value, bool for_query) {
  std::string out;
  for (const char c : str(value)) {
    const auto byte = static_cast<uint8_t>(c);
    if (std::isalnum(byte) != 0 || c == '_' || c == '.' || c == '-' || c == '~' ||
        (c == '/' && !for_query))
      out += c;
    else if (c == ' ' && for_query)
      out += '+';
    else
      out += fmt::format("%{:02X}", byte);
  }
  return out;
}

Value filter_urlencode(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("urlencode", arguments, {});
  if (subject.is_string() || !is_iterable(subject)) return Value(url_quote(subject, false));
  const Value pairs = subject.is_dict() ? Value(std::shared_ptr<Object>(make_object<DictViewObject>(
                                              0, subject, DictViewObject::Part::kItems)))
                                        : subject;
  std::string out;
  Iterator at(pairs);
  for (Value pair; at.next(pair);) {
    const std::vector<Value> parts = to_vector(pair);
    if (parts.size() != 2) raise("ValueError: urlencode wants pairs");
    out += (out.empty() ? "" : "&") + url_quote(parts[0], true) + "=" + url_quote(parts[1], true);
  }
  return Value(std::move(out));
}

Value filter_wordcount(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("wordcount", arguments, {});
  const std::string text = str(subject);
  int64_t count = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const bool word = is_word_character(next_code_point(text, i));
    count += word && !inside;
    inside = word;
  }
  return Value(count);
}

struct FilterEntry {
  std::string_view name;
  FilterFunction function;
};

constexpr FilterEntry kFilters[] = {
    {"abs", filter_abs},
    {"attr", filter_attr},
    {"batch", filter_batch},
    {"capitalize", mapped<capitalize>},
    {"center", filter_center},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", filter_dictsort},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"filesizeformat", filter_filesizeformat},
    {"first", filter_first},
    {"float", filter_float},
    {"forceescape", filter_forceescape},
    {"format", filter_format},
    {"groupby", filter_groupby},
    {"indent", filter_indent},
    {"int", filter_int},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"lower", mapped<to_lower>},
    {"map", filter_map},
    {"max", filter_max},
    {"min", filter_min},
    {"reject", filter_reject},
    {"rejectattr", filter_rejectattr},
    {"replace", filter_replace},
    {"reverse", filter_reverse},
    {"round", filter_round},
    {"safe", filter_safe},
    {"select", filter_select},
    {"selectattr", filter_selectattr},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"string", filter_string},
    {"striptags", mapped<strip_tags>},
    {"sum", filter_sum},
    {"title", mapped<filter_title_case>},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"unique", filter_unique},
    {"upper", mapped<to_upper>},
    {"urlencode", filter_urlencode},
    {"wordcount", filter_wordcount},
};

}  // namespace

FilterFunction find_filter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [&](const FilterEntry& entry) { return entry.name == name; });
  return found != std::end(kFilters) ? found->function : nullptr;
}

}  // namespace dure::jinja
