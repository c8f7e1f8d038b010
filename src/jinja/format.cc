// Widths, precisions and signs of one value; the two syntaxes that ask for them.
#include "jinja/format.h"

#include <algorithm>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

constexpr int64_t kSizeMax = 1000;  // Of a precision.
constexpr std::string_view kFloatTypes = "eEfFgG", kIntTypes = "dixX";

struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  // < > ^, or = for fill between sign and digits. Not said: > for numbers.
  char sign = '-';
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

// Reads a specification from the left.
class SpecReader {
 public:
  explicit SpecReader(std::string_view text, size_t at = 0) : text_(text), at_(at) {}
  size_t at() const { return at_; }
  bool done() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  char take() { return done() ? '\0' : text_[at_++]; }
  // A character of `characters`, or 0.
  char take_one_of(std::string_view characters) {
    return !done() && characters.find(peek()) != std::string_view::npos ? take() : '\0';
  }
  int64_t take_number() {
    int64_t number = 0;
    while (peek() >= '0' && peek() <= '9') {
      number = number * 10 + (take() - '0');
      if (number > (int64_t{1} << 40))
        raise("ValueError: Too many decimal digits in format string");
    }
    return number;
  }
  void take_width_and_precision(FormatSpec& spec) {
    spec.width = take_number();
    if (take_one_of(".") == '\0') return;
    spec.precision = take_number();
    if (spec.precision > kSizeMax) raise("ValueError: a precision above {}", kSizeMax);
  }

 private:
  std::string_view text_;
  size_t at_;
};

// `prefix`: a sign, which stays left of what "=" fills in.
std::string padded(const std::string& prefix, std::string_view text, const FormatSpec& spec) {
  const int64_t missing = std::max<int64_t>(
      0, spec.width - static_cast<int64_t>(prefix.size()) - character_count(text));
  const int64_t left = spec.align == '<' ? 0 : spec.align == '^' ? missing / 2 : missing;
  const std::string fill = repeated(spec.fill, left);
  return (spec.align == '=' ? prefix + fill : fill + prefix) + std::string(text) +
         repeated(spec.fill, missing - left);
}

std::string format_text(std::string_view text, FormatSpec spec) {
  if (spec.precision >= 0) text = text.substr(0, byte_offset(text, spec.precision));
  if (spec.align == '\0') spec.align = '<';
  return padded("", text, spec);
}

// The absolute value by C's rules, which are Python's too for these types.
std::string float_digits(double value, const FormatSpec& spec) {
  const char format[] = {'%', '.', '*', spec.type, '\0'};
  char text[2 * kSizeMax];
  std::snprintf(text, sizeof text, format,
                static_cast<int>(spec.precision < 0 ? 6 : spec.precision), std::abs(value));
  return text;
}

std::string int_digits(Int value, char type) {
  if (type != 'x' && type != 'X') return int_text(value < 0 ? -value : value);
  if (value > INT64_MAX || value < -INT64_MAX) raise("OverflowError: hexadecimal of 64 bits");
  const auto number = static_cast<int64_t>(value < 0 ? -value : value);
  return type == 'x' ? fmt::format("{:x}", number) : fmt::format("{:X}", number);
}

std::string format_number(const Value& value, FormatSpec spec) {
  if (spec.align == '\0') spec.align = '>';
  const bool as_float = kFloatTypes.find(spec.type) != std::string_view::npos;
  if (!as_float && spec.precision >= 0)
    raise("a precision is not supported without one of the types {}", kFloatTypes);
  const bool negative = value.is_float() ? std::signbit(value.real()) && !std::isnan(value.real())
                                         : value.integer() < 0;
  const std::string prefix = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  if (as_float) return padded(prefix, float_digits(value.real(), spec), spec);
  return padded(prefix, int_digits(value.integer(), spec.type), spec);
}

// --- "%" ---

class Percent {
 public:
  Percent(std::string_view format, const Value& values) : format_(format), values_(values) {}

  std::string run() {
    std::string out;
    for (size_t i = 0; i < format_.size();) {
      const size_t sign = std::min(format_.find('%', i), format_.size());
      out += format_.substr(i, sign - i);
      i = sign;
      if (i < format_.size()) out += one(++i);
      check_size(static_cast<int64_t>(out.size()));
    }
    const bool takes_all = values_.is_dict() || (!values_.is_tuple() && taken_ == 0 &&
                                                 (values_.is_list() || values_.is_undefined()));
    if (!takes_all && taken_ < (values_.is_tuple() ? values_.items().size() : 1))
      raise("TypeError: not all arguments converted during string formatting");
    return out;
  }

 private:
  const Value& take() {
    if (taken_ >= (values_.is_tuple() ? values_.items().size() : 1))
      raise("TypeError: not enough arguments for format string");
    return values_.is_tuple() ? values_.items()[taken_++] : (++taken_, values_);
  }

  const Value& take_key(SpecReader& reader, size_t begin) {
    const size_t end = format_.find(')', begin);
    if (end == std::string_view::npos) raise("ValueError: incomplete format key");
    if (!values_.is_dict()) raise("TypeError: format requires a mapping");
    const std::string_view key = format_.substr(begin, end - begin);
    const Value* value = values_.dict().find(key);
    if (value == nullptr) raise("KeyError: {}", repr_of_text(key));
    reader = SpecReader(format_, end + 1);
    return *value;
  }

  // After the "%".
  std::string one(size_t& i) {
    SpecReader reader(format_, i);
    const Value* keyed = reader.peek() == '(' ? &take_key(reader, i + 1) : nullptr;
    FormatSpec spec;
    spec.align = '>';
    bool zero = false;
    while (const char flag = reader.take_one_of("-+ 0")) {
      if (flag == '-') spec.align = '<';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
      zero |= flag == '0';
    }
    reader.take_width_and_precision(spec);
    spec.type = reader.take();
    i = reader.at();
    if (spec.type == '\0') raise("ValueError: incomplete format");
    if (spec.type == '%') return "%";
    if (zero && spec.align == '>' && spec.type != 's' && spec.type != 'r') {
      spec.align = '=';
      spec.fill = "0";
    }
    return convert(keyed != nullptr ? *keyed : take(), spec);
  }

  static std::string convert(const Value& value, const FormatSpec& spec) {
    if (spec.type == 's') return format_text(str(value), spec);
    if (spec.type == 'r') return format_text(repr(value), spec);
    const bool as_float = kFloatTypes.find(spec.type) != std::string_view::npos;
    if (!as_float && kIntTypes.find(spec.type) == std::string_view::npos)
      raise("the format character '%{}' is not supported", spec.type);
    if (value.is_undefined()) raise_undefined(value);
    if (!value.is_number())
      raise("TypeError: %{} format: a real number is required, not {}", spec.type,
            type_name(value));
    if (as_float || !value.is_float()) return format_number(value, spec);
    if (spec.type == 'x' || spec.type == 'X' || !(std::abs(value.real()) < 1e38))
      raise("TypeError: %{} format: an integer is required, not float", spec.type);
    return format_number(Value(static_cast<Int>(value.real())), spec);
  }

  std::string_view format_;
  const Value& values_;
  size_t taken_ = 0;
};

// --- "{}" ---

// "[[fill]align][sign][0][width][.precision][type]"
FormatSpec parse_spec(std::string_view text) {
  constexpr std::string_view kAligns = "<>^=";
  FormatSpec spec;
  size_t fill_end = 0;
  if (!text.empty()) next_code_point(text, fill_end);
  const bool filled =
      fill_end < text.size() && kAligns.find(text[fill_end]) != std::string_view::npos;
  if (filled) spec.fill = std::string(text.substr(0, fill_end));
  SpecReader reader(text, filled ? fill_end : 0);
  spec.align = reader.take_one_of(kAligns);
  if (const char sign = reader.take_one_of("+- ")) spec.sign = sign;
  if (reader.take_one_of("0") != '\0' && spec.align == '\0') {
    spec.align = '=';
    spec.fill = "0";
  }
  reader.take_width_and_precision(spec);
  spec.type = reader.take();
  if (!reader.done() || (spec.type != '\0' &&
                         std::string_view("sdxXeEfFgG").find(spec.type) == std::string_view::npos))
    raise("the format '{}' is not supported", text);
  return spec;
}

std::string format_value(const Value& value, std::string_view specification) {
  if (specification.empty()) return str(value);
  const FormatSpec spec = parse_spec(specification);
  const bool as_float = kFloatTypes.find(spec.type) != std::string_view::npos;
  if (value.is_string() && (spec.type == '\0' || spec.type == 's') && spec.align != '=' &&
      spec.sign == '-')
    return format_text(value.text(), spec);
  if (value.is_number() && spec.type != 's' && !value.is_bool() && (as_float || value.is_int()))
    return format_number(value, spec);
  raise("the format '{}' of a {} is not supported", specification, type_name(value));
}

class Braces {
 public:
  explicit Braces(const Arguments& arguments) : arguments_(arguments) {}

  std::string run(std::string_view format) {
    std::string out;
    for (size_t i = 0; i < format.size();) {
      const char c = format[i++];
      if (c != '{' && c != '}') {
        out += c;
      } else if (i < format.size() && format[i] == c) {
        out += c;
        ++i;
      } else if (c == '}') {
        raise("ValueError: Single '}}' encountered in format string");
      } else {
        const size_t end = format.find('}', i);
        if (end == std::string_view::npos) raise("ValueError: expected '}}' before end of string");
        out += field(format.substr(i, end - i));
        i = end + 1;
      }
      check_size(static_cast<int64_t>(out.size()));
    }
    return out;
  }

 private:
  // name:specification
  std::string field(std::string_view text) {
    if (text.find_first_of("!.[{") < text.find(':'))
      raise("the replacement field '{{{}}}' is not supported", text);
    const size_t colon = std::min(text.find(':'), text.size());
    const Value& value = argument(text.substr(0, colon));
    return format_value(value, text.substr(std::min(colon + 1, text.size())));
  }

  const Value& argument(std::string_view name) {
    const bool is_number = name.find_first_not_of("0123456789") == std::string_view::npos;
    if (is_number) {
      if (numbered_.value_or(!name.empty()) == name.empty())
        raise("ValueError: cannot mix manual and automatic field numbering");
      numbered_ = !name.empty();
      const auto index =
          name.empty() ? next_++ : static_cast<size_t>(SpecReader(name).take_number());
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
  return Braces(arguments).run(format);
}

}  // namespace dure::jinja
