// "%" with its widths and precisions; "{}" with nothing inside but an argument's name or place.
#include "jinja/format.h"

#include <algorithm>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

constexpr int64_t kPrecisionMax = 1000;

// "%[flags][width][.precision]type"
struct FormatSpec {
  bool left = false, zeros = false;  // Flags - and 0.
  char sign = '\0';                  // Of what is not negative: + or a blank.
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = '\0';
  bool is_float() const { return std::string_view("efg").find(type) != std::string_view::npos; }
};

class Percent {
 public:
  Percent(std::string_view format, const Value& values) : format_(format), values_(values) {}

  std::string run() {
    std::string out;
    while (at_ < format_.size()) {
      const size_t sign = std::min(format_.find('%', at_), format_.size());
      out += format_.substr(at_, sign - at_);
      at_ = sign + 1;
      if (sign < format_.size()) out += convert(take_spec());
      check_size(static_cast<int64_t>(out.size()));
    }
    const bool takes_none =
        taken_ == 0 && (values_.is_dict() || values_.is_list() || values_.is_undefined());
    if (!takes_none && taken_ < value_count())
      raise("TypeError: not all arguments converted during string formatting");
    return out;
  }

 private:
  size_t value_count() const { return values_.is_tuple() ? values_.items().size() : 1; }
  const Value& take_value() {
    if (taken_ >= value_count()) raise("TypeError: not enough arguments for format string");
    const size_t place = taken_++;
    return values_.is_tuple() ? values_.items()[place] : values_;
  }

  char peek() const { return at_ < format_.size() ? format_[at_] : '\0'; }
  int64_t take_number() {
    int64_t number = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      number = number * 10 + (peek() - '0');
      if (number > (int64_t{1} << 40))
        raise("ValueError: Too many decimal digits in format string");
    }
    return number;
  }

  FormatSpec take_spec() {
    FormatSpec spec;
    for (; peek() == '-' || peek() == '0' || peek() == '+' || peek() == ' '; ++at_) {
      spec.left |= peek() == '-';
      spec.zeros |= peek() == '0';
      if (peek() == '+' || (peek() == ' ' && spec.sign == '\0')) spec.sign = peek();
    }
    spec.width = take_number();
    if (peek() == '.') {
      ++at_;
      spec.precision = take_number();
      if (spec.precision > kPrecisionMax) raise("ValueError: a precision above {}", kPrecisionMax);
    }
    spec.type = peek();
    ++at_;
    if (spec.type == '\0') raise("ValueError: incomplete format");
    return spec;
  }

  std::string convert(const FormatSpec& spec) {
    if (spec.type == '%') return "%";
    const bool is_text = spec.type == 's' || spec.type == 'r';
    if (!is_text && !spec.is_float() && spec.type != 'd' && spec.type != 'i')
      raise("the format '%{}' is not supported", spec.type);
    const Value& value = take_value();
    if (!is_text) return number(value, spec);
    std::string text = spec.type == 's' ? str(value) : repr(value);
    if (spec.precision.has_value()) text.resize(byte_offset(text, *spec.precision));
    return padded("", text, spec);
  }

  static std::string number(const Value& value, const FormatSpec& spec) {
    if (value.is_undefined()) raise_undefined(value);
    if (!value.is_number())
      raise("TypeError: %{} format: a real number is required, not {}", spec.type,
            type_name(value));
    const bool negative = value.is_float() ? std::signbit(value.real()) && !std::isnan(value.real())
                                           : value.integer() < 0;
    const std::string sign = negative ? "-" : spec.sign != '\0' ? std::string(1, spec.sign) : "";
    return padded(sign, spec.is_float() ? float_digits(value, spec) : int_digits(value, spec),
                  spec);
  }

  // The absolute value by C's rules, which are Python's too.
  static std::string float_digits(const Value& value, const FormatSpec& spec) {
    const char format[] = {'%', '.', '*', spec.type, '\0'};
    char text[2 * kPrecisionMax];
    std::snprintf(text, sizeof text, format, static_cast<int>(spec.precision.value_or(6)),
                  std::abs(value.real()));
    return text;
  }

  static std::string int_digits(const Value& value, const FormatSpec& spec) {
    if (spec.precision.has_value()) raise("a precision of '%{}' is not supported", spec.type);
    if (value.is_float() && !(std::abs(value.real()) < 1e38))
      raise("OverflowError: cannot convert float to integer");
    const Int whole = value.is_float() ? static_cast<Int>(value.real()) : value.integer();
    return int_text(whole < 0 ? -whole : whole);
  }

  static std::string padded(const std::string& sign, const std::string& text,
                            const FormatSpec& spec) {
    const int64_t missing = spec.width - static_cast<int64_t>(sign.size()) - character_count(text);
    if (spec.left) return sign + text + repeated(" ", missing);
    const bool zeros = spec.zeros && spec.type != 's' && spec.type != 'r';
    return zeros ? sign + repeated("0", missing) + text : repeated(" ", missing) + sign + text;
  }

  std::string_view format_;
  const Value& values_;
  size_t at_ = 0, taken_ = 0;
};

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
        out += str(argument(format.substr(i, end - i)));
        i = end + 1;
      }
      check_size(static_cast<int64_t>(out.size()));
    }
    return out;
  }

 private:
  const Value& argument(std::string_view name) {
    if (name.find_first_of("!:.[{") != std::string_view::npos)
      raise("the replacement field '{{{}}}' is not supported: only a name or a number is", name);
    if (name.find_first_not_of("0123456789") == std::string_view::npos) {
      if (numbered_.value_or(!name.empty()) == name.empty())
        raise("ValueError: cannot mix manual and automatic field numbering");
      numbered_ = !name.empty();
      const size_t index = name.empty() ? next_++ : number_of(name);
      if (index >= arguments_.positional.size())
        raise("IndexError: Replacement index {} out of range for positional args tuple", index);
      return arguments_.positional[index];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    raise("KeyError: {}", repr_of_text(name));
  }

  static size_t number_of(std::string_view digits) {
    return digits.size() < 10 ? std::stoul(std::string(digits)) : SIZE_MAX;
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
