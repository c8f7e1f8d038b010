// Fences by their lengths, numbers as exact decimals.
#include "grade/code_text.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

#include "base/python_text.h"
#include "base/utf8.h"

namespace dure {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (size_t end; (end = text.find(at)) != std::string_view::npos; text.remove_prefix(end + 1))
    parts.push_back(text.substr(0, end));
  parts.push_back(text);
  return parts;
}

// Of a line that opens or closes a block: how many marks, and what follows them.
struct Fence {
  char mark = '`';
  size_t length = 0;  // 0: the line is none
  std::string_view word;
};

Fence fence_of(std::string_view line) {
  line = python_strip(line);
  if (line.empty() || (line[0] != '`' && line[0] != '~')) return {};
  const size_t length = std::min(line.find_first_not_of(line[0]), line.size());
  if (length < 3) return {};
  return {line[0], length, python_strip(line.substr(length))};
}

bool is_python(std::string_view word) {
  std::string first(word.substr(0, word.find_first_of(" \t{")));
  for (char& c : first) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return first == "python" || first == "py" || first == "python3";
}

// Sign, digits without zeros at either end, and the power of ten of the last digit.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;
  bool is_number = true;  // false: not equal to anything
  bool operator==(const Decimal& other) const {
    return is_number && other.is_number && digits == other.digits &&
           (digits.empty() || (negative == other.negative && exponent == other.exponent));
  }
};

void normalise(Decimal& number) {
  number.digits.erase(0, std::min(number.digits.find_first_not_of('0'), number.digits.size()));
  while (!number.digits.empty() && number.digits.back() == '0') {
    number.digits.pop_back();
    ++number.exponent;
  }
}

// "inf", "infinity", "nan", in any case.
std::optional<Decimal> special_decimal(std::string_view text, bool negative) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower == "inf" || lower == "infinity") return Decimal{negative, "infinity", 0, true};
  if (lower == "nan" || lower == "snan") return Decimal{negative, "", 0, false};
  return std::nullopt;
}

// The digits before and after a point, taken off `text`.
bool take_digits(std::string_view& text, Decimal& number) {
  bool point = false;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    if (text[i] == '_') continue;
    if (text[i] == '.' && !point) {
      point = true;
    } else if (std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
      number.digits += text[i];
      number.exponent -= point ? 1 : 0;
    } else {
      break;
    }
  }
  text.remove_prefix(i);
  return !number.digits.empty();
}

bool take_exponent(std::string_view text, Decimal& number) {
  if (text.empty()) return true;
  if (text[0] != 'e' && text[0] != 'E') return false;
  const std::string rest(text.substr(1));
  char* end = nullptr;
  const long long exponent = std::strtoll(rest.c_str(), &end, 10);
  if (rest.empty() || std::isspace(static_cast<unsigned char>(rest[0])) != 0 || *end != '\0')
    return false;
  number.exponent += std::clamp(exponent, -1'000'000'000LL, 1'000'000'000LL);
  return true;
}

std::optional<Decimal> decimal_of(std::string_view text) {
  Decimal number;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    number.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (const auto special = special_decimal(text, number.negative)) return special;
  if (!take_digits(text, number) || !take_exponent(text, number)) return std::nullopt;
  normalise(number);
  return number;
}

std::optional<std::vector<Decimal>> decimals_of(std::string_view line) {
  std::vector<Decimal> numbers;
  while (!(line = python_strip(line)).empty()) {
    const size_t end = std::min(line.find_first_of(" \t\v\f\r"), line.size());
    const auto number = decimal_of(line.substr(0, end));
    if (!number) return std::nullopt;
    numbers.push_back(*number);
    line.remove_prefix(end);
  }
  return numbers;
}

bool same_line(std::string_view got, std::string_view expected) {
  got = python_strip(got);
  expected = python_strip(expected);
  if (got == expected) return true;
  const auto numbers = decimals_of(got);
  return numbers && numbers == decimals_of(expected);
}

bool same_number(const Json& a, const Json& b) {
  const auto number = [](const Json& json) {
    return json.is_bool() ? Json(int64_t{json.as_bool()}) : json;
  };
  const Json x = number(a), y = number(b);
  if (!x.is_number() || !y.is_number()) return false;
  if (x.is_int() && y.is_int()) return x.as_int() == y.as_int();
  return x.as_double() == y.as_double();
}

bool same_lists(const Json& written, const Json& expected) {
  if (!written.is_array() || !expected.is_array() || written.size() != expected.size())
    return false;
  for (size_t i = 0; i < written.size(); ++i)
    if (!same_value(written.at(i), expected.at(i))) return false;
  return true;
}

// Pairs of key and value, since Python's keys need not be text.
bool same_dicts(const Json& pairs, const Json& expected) {
  if (!expected.is_object() || pairs.size() != expected.size()) return false;
  for (const Json& pair : pairs.as_array()) {
    const Json* value = pair.at(0).is_string() ? expected.find(pair.at(0).as_string()) : nullptr;
    if (value == nullptr || !same_value(pair.at(1), *value)) return false;
  }
  return true;
}

}  // namespace

std::optional<std::string> last_code_block(std::string_view text) {
  std::optional<std::string> last, last_python;
  Fence open;
  std::string block;
  const auto close = [&] {
    if (is_python(open.word)) last_python = block;
    last = block;
    open.length = 0;
    block.clear();
  };
  for (const std::string_view line : split(text, '\n')) {
    const Fence fence = fence_of(line);
    if (open.length == 0) {
      open = fence;
    } else if (fence.mark == open.mark && fence.length >= open.length && fence.word.empty()) {
      close();
    } else {
      block.append(line).append("\n");
    }
  }
  if (open.length > 0) close();
  return last_python ? last_python : last;
}

std::string_view continued_function(std::string_view text) {
  size_t end = text.size();
  for (const char* stop : {"\nclass", "\ndef", "\n#", "\nif", "\nprint"})
    end = std::min(end, text.find(stop));
  return text.substr(0, end);
}

bool same_output(std::string_view got, std::string_view expected, std::string* where) {
  const auto got_lines = split(python_strip(got), '\n');
  const auto expected_lines = split(python_strip(expected), '\n');
  for (size_t i = 0; i < std::min(got_lines.size(), expected_lines.size()); ++i) {
    if (same_line(got_lines[i], expected_lines[i])) continue;
    if (where != nullptr) *where = "line " + std::to_string(i + 1);
    return false;
  }
  if (got_lines.size() == expected_lines.size()) return true;
  if (where != nullptr)
    *where =
        std::to_string(got_lines.size()) + " lines, not " + std::to_string(expected_lines.size());
  return false;
}

bool same_value(const Json& written, const Json& expected) {
  if (const Json* pairs = written.find("dict")) return same_dicts(*pairs, expected);
  if (written.is_object()) return false;  // a tuple inside, or what JSON has no form for
  if (written.is_array()) return same_lists(written, expected);
  return written == expected || same_number(written, expected);
}

std::string cut_short(std::string_view text, size_t characters) {
  if (text.size() <= characters) return std::string(text);
  const size_t head = utf8_start(text, characters / 2);
  const size_t tail = utf8_start(text, text.size() - characters / 2);
  return std::string(text.substr(0, head)) + " ... " + std::string(text.substr(tail));
}

}  // namespace dure
