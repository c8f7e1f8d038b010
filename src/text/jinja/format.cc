#include "text/jinja/format.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/operators.h"
#include "text/jinja/python_string.h"

namespace dure::jinja {
namespace {

constexpr int64_t kPrecisionMax = 1000;

std::string ascii_only(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (code < 0x80)
      out += static_cast<char>(code);
    else
      out += escaped(code);
  }
  return out;
}

struct Specification {
  std::string fill = " ";
  char align = '\0';  // < > ^ =
  char sign = '-';
  bool alternate = false, zero = false;
  int64_t width = 0;
  char grouping = '\0';  // , or _
  int64_t precision = -1;
  char type = '\0';
};

// Digits of the absolute value in a base.
std::string digits_of(Int value, int base, bool capitals) {
  const char* const digits = capitals ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  __extension__ unsigned __int128 rest = value < 0 ? -static_cast<unsigned __int128>(value) : value;
  do {
    out += digits[static_cast<int>(rest % static_cast<unsigned>(base))];
    rest /= static_cast<unsigned>(base);
  } while (rest != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

// The absolute value, finite or not, by C's rules, which are Python's too for e, f and g.
std::string float_digits(double value, char type, int64_t precision, bool alternate) {
  value = std::abs(value);
  const bool capitals = type == 'E' || type == 'F' || type == 'G';
  if (std::isnan(value)) return capitals ? "NAN" : "nan";
  if (std::isinf(value)) return capitals ? "INF" : "inf";
  char c_format[8] = "%.*f";
  if (alternate) std::copy_n("%#.*f", 6, c_format);
  c_format[alternate ? 4 : 3] = type;
  const int size = std::snprintf(nullptr, 0, c_format, static_cast<int>(precision), value);
  std::string out(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(out.data(), out.size(), c_format, static_cast<int>(precision), value);
  out.pop_back();
  return out;
}

std::string grouped(std::string digits, char separator, size_t group) {
  size_t end = 0;
  while (end < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[end])) != 0) ++end;
  for (size_t at = end; at > group;) digits.insert(at -= group, 1, separator);
  return digits;
}

std::string sign_text(bool negative, char sign) {
  if (negative) return "-";
  return sign == '+' ? "+" : sign == ' ' ? " " : "";
}

// Sign (and base prefix) before the digits, and padding between or around.
std::string pad_number(const std::string& prefix, const std::string& digits,
                       const Specification& s) {
  const char align = s.align != '\0' ? s.align : s.zero ? '=' : '>';
  const std::string fill = s.zero && s.align == '\0' ? "0" : s.fill;
  if (align == '=')
    return prefix + pad(digits, s.width - static_cast<int64_t>(prefix.size()), Align::kRight, fill);
  const int64_t missing = s.width - static_cast<int64_t>(prefix.size() + digits.size());
  if (align == '^') {  // Unlike str.center(), the odd one goes to the right.
    const std::string left = pad("", std::max<int64_t>(0, missing) / 2, Align::kLeft, fill);
    return pad(left + prefix + digits, s.width, Align::kLeft, fill);
  }
  return pad(prefix + digits, s.width, align == '<' ? Align::kLeft : Align::kRight, fill);
}

std::string format_int(Int value, const Specification& s) {
  int base = 10;
  std::string prefix = sign_text(value < 0, s.sign);
  if (s.type == 'x' || s.type == 'X') base = 16;
  if (s.type == 'o') base = 8;
  if (s.type == 'b') base = 2;
  if (s.precision >= 0) raise("ValueError: Precision not allowed in integer format specifier");
  if (s.alternate && base != 10) prefix += std::string("0") + s.type;
  std::string digits = digits_of(value, base, s.type == 'X');
  if (s.grouping != '\0') digits = grouped(digits, s.grouping, base == 10 ? 3 : 4);
  return pad_number(prefix, digits, s);
}

std::string format_float(double value, Specification s) {
  const bool percent = s.type == '%';
  std::string digits;
  if (s.type == '\0' && s.precision < 0) {
    digits = python_float(std::abs(value));
  } else if (s.type == '\0') {  // Like g, but with a digit after the point.
    digits = float_digits(value, 'g', std::max<int64_t>(1, s.precision), s.alternate);
    if (std::isfinite(value) && digits.find_first_of(".e") == std::string::npos) digits += ".0";
  } else {
    const char type = percent ? 'f' : s.type == 'n' ? 'g' : s.type;
    digits = float_digits(percent ? value * 100 : value, type, s.precision < 0 ? 6 : s.precision,
                          s.alternate);
  }
  if (s.grouping != '\0') digits = grouped(digits, s.grouping, 3);
  return pad_number(sign_text(std::signbit(value) && !std::isnan(value), s.sign),
                    digits + (percent ? "%" : ""), s);
}

std::string format_text(std::string_view text, const Specification& s) {
  if (s.align == '=' || s.sign != '-')
    raise("ValueError: alignment '=' and signs are not allowed for strings");
  if (s.type != '\0' && s.type != 's')
    raise("ValueError: Unknown format code '{}' for object of type 'str'", s.type);
  if (s.precision >= 0) text = text.substr(0, byte_offset(text, s.precision));
  const std::string fill = s.zero && s.align == '\0' ? "0" : s.fill;
  if (s.align == '^') {
    const int64_t missing = s.width - character_count(text);
    return pad(pad("", std::max<int64_t>(0, missing) / 2, Align::kLeft, fill) + std::string(text),
               s.width, Align::kLeft, fill);
  }
  return pad(text, s.width, s.align == '>' ? Align::kRight : Align::kLeft, fill);
}

int64_t take_number(std::string_view text, size_t& i) {
  int64_t number = 0;
  while (i < text.size() && text[i] >= '0' && text[i] <= '9') {
    number = number * 10 + (text[i++] - '0');
    if (number > (int64_t{1} << 40)) raise("ValueError: Too many decimal digits in format string");
  }
  return number;
}

Specification parse_specification(std::string_view text) {
  Specification s;
  size_t i = 0, next = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (!text.empty()) next_code_point(text, next);
  if (next < text.size() && is_align(text[next])) {
    s.fill = std::string(text.substr(0, next));
    s.align = text[next];
    i = next + 1;
  } else if (!text.empty() && is_align(text[0])) {
    s.align = text[i++];
  }
  if (i < text.size() && (text[i] == '+' || text[i] == '-' || text[i] == ' ')) s.sign = text[i++];
  if (i < text.size() && text[i] == '#') s.alternate = true, ++i;
  if (i < text.size() && text[i] == '0') s.zero = true, ++i;
  s.width = take_number(text, i);
  if (i < text.size() && (text[i] == ',' || text[i] == '_')) s.grouping = text[i++];
  if (i < text.size() && text[i] == '.') {
    const size_t begin = ++i;
    s.precision = take_number(text, i);
    if (i == begin) raise("ValueError: Format specifier missing precision");
    if (s.precision > kPrecisionMax) raise("ValueError: a precision above {}", kPrecisionMax);
  }
  if (i < text.size()) s.type = text[i++];
  if (i < text.size()) raise("ValueError: Invalid format specifier");
  return s;
}

// --- "%" ---

class Percent {
 public:
  Percent(std::string_view format, const Value& values) : format_(format), values_(values) {}

  std::string run() {
    for (size_t i = 0; i < format_.size();) {
      if (format_[i] != '%') {
        out_ += format_[i++];
        continue;
      }
      ++i;
      one(i);
      check_size(static_cast<int64_t>(out_.size()));
    }
    const bool takes_all = values_.is_dict() || (!values_.is_tuple() && taken_ == 0 &&
                                                 (values_.is_list() || values_.is_undefined()));
    if (!takes_all && taken_ < (values_.is_tuple() ? values_.items().size() : 1))
      raise("TypeError: not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  const Value& take() {
    if (values_.is_tuple()) {
      if (taken_ >= values_.items().size())
        raise("TypeError: not enough arguments for format string");
      return values_.items()[taken_++];
    }
    if (taken_++ > 0) raise("TypeError: not enough arguments for format string");
    return values_;
  }

  const Value* take_key(size_t& i) {
    const size_t end = format_.find(')', i);
    if (end == std::string_view::npos) raise("ValueError: incomplete format key");
    if (!values_.is_dict()) raise("TypeError: format requires a mapping");
    const std::string_view key = format_.substr(i + 1, end - i - 1);
    const Value* value = values_.dict().find(key);
    if (value == nullptr) raise("KeyError: {}", repr_of_text(key));
    i = end + 1;
    return value;
  }

  int64_t take_size(size_t& i) {
    if (i < format_.size() && format_[i] == '*') return ++i, to_int64(take(), "* wants int");
    return take_number(format_, i);
  }

  void one(size_t& i) {
    const Value* keyed = i < format_.size() && format_[i] == '(' ? take_key(i) : nullptr;
    Specification s;
    s.align = '>';
    bool zero = false;
    for (;
         i < format_.size() && std::string_view("-+ #0").find(format_[i]) != std::string_view::npos;
         ++i) {
      if (format_[i] == '-')
        s.align = '<';
      else if (format_[i] == '+')
        s.sign = '+';
      else if (format_[i] == ' ')
        s.sign = s.sign == '+' ? '+' : ' ';
      else if (format_[i] == '#')
        s.alternate = true;
      else
        zero = true;
    }
    s.width = take_size(i);
    if (s.width < 0) s.align = '<', s.width = -s.width;
    if (i < format_.size() && format_[i] == '.') s.precision = std::max<int64_t>(0, take_size(++i));
    if (s.precision > kPrecisionMax) raise("ValueError: a precision above {}", kPrecisionMax);
    while (i < format_.size() && (format_[i] == 'l' || format_[i] == 'h' || format_[i] == 'L')) ++i;
    if (i >= format_.size()) raise("ValueError: incomplete format");
    const char type = format_[i++];
    if (type == '%') return void(out_ += '%');
    const bool numeric = std::string_view("diuxXoeEfFgG").find(type) != std::string_view::npos;
    if (zero && numeric && s.align == '>') s.align = '=', s.fill = "0";
    out_ += convert(keyed != nullptr ? *keyed : take(), type, s);
  }

  static std::string convert(const Value& value, char type, Specification s) {
    const bool is_text = type == 's' || type == 'r' || type == 'a' || type == 'c';
    if (is_text) {
      s.sign = '-';
      std::string text = type == 's'   ? str(value)
                         : type == 'r' ? repr(value)
                         : type == 'a' ? ascii_only(repr(value))
                                       : character(value);
      return format_text(text, s);
    }
    if (std::string_view("diuxXoeEfFgG").find(type) == std::string_view::npos)
      raise("ValueError: unsupported format character '{}'", type);
    if (value.is_undefined()) raise_undefined(value);
    if (!value.is_number())
      raise("TypeError: %{} format: a real number is required, not {}", type, type_name(value));
    s.type = type;
    if (std::string_view("eEfFgG").find(type) != std::string_view::npos)
      return format_float(value.real(), s);
    if (value.is_float() && (type == 'x' || type == 'X' || type == 'o'))
      raise("TypeError: %{} format: an integer is required, not float", type);
    if (value.is_float() && !(std::abs(value.real()) < 1e38))
      raise("OverflowError: cannot convert float to integer");
    const Int number = value.is_float() ? static_cast<Int>(value.real()) : value.integer();
    const int64_t digit_count = std::exchange(s.precision, -1);
    if (digit_count < 0) return format_int(number, s);
    const int base = type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
    return pad_number(sign_text(number < 0, s.sign),
                      pad(digits_of(number, base, type == 'X'), digit_count, Align::kRight, "0"),
                      s);
  }

  static std::string character(const Value& value) {
    if (value.is_string() && value.string().length == 1) return value.text();
    if (!value.is_integral() || value.integer() < 0 || value.integer() > 0x10FFFF)
      raise("TypeError: %c requires int or char");
    std::string out;
    append_code_point(out, static_cast<char32_t>(value.integer()));
    return out;
  }

  std::string_view format_;
  const Value& values_;
  std::string out_;
  size_t taken_ = 0;
};

// --- "{}" ---

class Braces {
 public:
  explicit Braces(const Arguments& arguments) : arguments_(arguments) {}

  std::string run(std::string_view format, int depth) {
    if (depth > 2) raise("ValueError: Max string recursion exceeded");
    std::string out;
    for (size_t i = 0; i < format.size();) {
      const char c = format[i++];
      if ((c == '{' || c == '}') && i < format.size() && format[i] == c)
        out += c, ++i;
      else if (c == '}')
        raise("ValueError: Single '}}' encountered in format string");
      else if (c == '{')
        out += field(format, i, depth);
      else
        out += c;
      check_size(static_cast<int64_t>(out.size()));
    }
    return out;
  }

 private:
  // After "{": the field, and i past its "}".
  std::string field(std::string_view format, size_t& i, int depth) {
    size_t end = i;
    int open = 1;
    for (; end < format.size(); ++end) {
      if (format[end] == '{') ++open;
      if (format[end] == '}' && --open == 0) break;
    }
    if (open > 0) raise("ValueError: expected '}}' before end of string");
    std::string_view body = format.substr(i, end - i);
    i = end + 1;
    std::string_view specification;
    size_t name_end = 0;
    for (bool bracket = false; name_end < body.size(); ++name_end) {
      if (body[name_end] == '[') bracket = true;
      if (body[name_end] == ']') bracket = false;
      if (!bracket && (body[name_end] == '!' || body[name_end] == ':')) break;
    }
    char conversion = '\0';
    const std::string_view name = body.substr(0, name_end);
    body.remove_prefix(name_end);
    if (body.starts_with('!')) {
      if (body.size() < 2 || (body.size() > 2 && body[2] != ':'))
        raise("ValueError: expected ':' after conversion specifier");
      conversion = body[1];
      body.remove_prefix(2);
    }
    if (body.starts_with(':')) specification = body.substr(1);
    const Value value = convert(lookup(name), conversion);
    return format_value(value, run(specification, depth + 1));
  }

  static Value convert(const Value& value, char conversion) {
    if (conversion == '\0') return value;
    if (conversion == 's') return Value(str(value));
    if (conversion == 'r') return Value(repr(value));
    if (conversion == 'a') return Value(ascii_only(repr(value)));
    raise("ValueError: Unknown conversion specifier {}", conversion);
  }

  Value lookup(std::string_view name) {
    size_t i = std::min(name.find_first_of(".["), name.size());
    Value value = first(name.substr(0, i));
    while (i < name.size()) {
      if (name[i] == '.') {
        const size_t end = std::min(name.find_first_of(".[", i + 1), name.size());
        value = get_attribute(value, std::string(name.substr(i + 1, end - i - 1)));
        i = end;
        continue;
      }
      const size_t end = name[i] == '[' ? name.find(']', i) : std::string_view::npos;
      if (end == std::string_view::npos) raise("ValueError: Missing ']' in format string");
      const std::string_view key = name.substr(i + 1, end - i - 1);
      value = get_item(value, is_number(key) ? Value(number(key)) : Value(key));
      i = end + 1;
    }
    return value;
  }

  static bool is_number(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  }
  static int64_t number(std::string_view text) {
    size_t i = 0;
    return take_number(text, i);
  }

  Value first(std::string_view name) {
    if (name.empty() || is_number(name)) {
      if (numbered_.value_or(!name.empty()) == name.empty())
        raise("ValueError: cannot mix manual and automatic field numbering");
      numbered_ = !name.empty();
      const size_t index = name.empty() ? next_++ : static_cast<size_t>(number(name));
      if (index >= arguments_.positional.size())
        raise("IndexError: Replacement index {} out of range for positional args tuple", index);
      return arguments_.positional[index];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    raise("KeyError: {}", repr_of_text(name));
  }

  const Arguments& arguments_;
  size_t next_ = 0;
  std::optional<bool> numbered_;  // How fields were numbered so far.
};

}  // namespace

std::string format_percent(std::string_view format, const Value& values) {
  spend_for_bytes(static_cast<int64_t>(format.size()));
  return Percent(format, values).run();
}

std::string format_braces(std::string_view format, const Arguments& arguments) {
  spend_for_bytes(static_cast<int64_t>(format.size()));
  return Braces(arguments).run(format, 0);
}

std::string format_value(const Value& value, std::string_view specification) {
  if (specification.empty()) return str(value);
  const Specification s = parse_specification(specification);
  if (value.is_string()) return format_text(value.text(), s);
  const bool as_float =
      s.type != '\0' && std::string_view("eEfFgG%").find(s.type) != std::string_view::npos;
  if (value.is_float() || (value.is_integral() && as_float)) {
    if (s.type != '\0' && s.type != 'n' && !as_float)
      raise("ValueError: Unknown format code '{}' for object of type 'float'", s.type);
    return format_float(value.real(), s);
  }
  if (value.is_bool() && s.type == '\0') return format_text(str(value), s);
  if (!value.is_integral())
    raise("TypeError: unsupported format string passed to {}.__format__", type_name(value));
  if (s.type != '\0' && std::string_view("bcdoxXn").find(s.type) == std::string_view::npos)
    raise("ValueError: Unknown format code '{}' for object of type 'int'", s.type);
  if (s.type == 'c') {
    std::string character;
    append_code_point(character,
                      static_cast<char32_t>(std::clamp<Int>(value.integer(), 0, 0x10FFFF)));
    Specification plain = s;
    plain.type = '\0';
    return format_text(character, plain);
  }
  return format_int(value.integer(), s);
}

}  // namespace dure::jinja
