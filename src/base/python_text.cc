// Characters one at a time, stray bytes included; numbers by the shortest digits (std::to_chars).
#include "base/python_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/utf8.h"

namespace dure {
namespace {

uint8_t byte_at(std::string_view text, size_t i) {
  return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
}

// Start of the character that ends before text[end].
size_t previous_start(std::string_view text, size_t end) {
  for (size_t back = 1; back <= 4 && back <= end; ++back) {
    if (utf8_length(text, end - back) == static_cast<int>(back)) return end - back;
  }
  return end - 1;
}

template <typename Predicate>
std::string_view strip_while(std::string_view text, StripSide side, Predicate stripped) {
  size_t begin = 0, end = text.size();
  while (side != StripSide::kRight && begin < end) {
    size_t next = begin;
    if (!stripped(next_code_point(text, next))) break;
    begin = next;
  }
  while (side != StripSide::kLeft && end > begin) {
    const size_t start = previous_start(text, end);
    size_t next = start;
    if (!stripped(next_code_point(text, next))) break;
    end = start;
  }
  return text.substr(begin, end - begin);
}

}  // namespace

char32_t next_code_point(std::string_view text, size_t& i) {
  const int length = utf8_length(text, i);
  const uint8_t first = byte_at(text, i);
  if (length <= 1) {
    ++i;
    return length == 1 ? first : 0xDC00u + first;
  }
  char32_t code = first & (0xFF >> (length + 1));
  for (int k = 1; k < length; ++k) code = (code << 6) | (byte_at(text, i + k) & 0x3F);
  i += length;
  return code;
}

void append_code_point(std::string& out, char32_t code) {
  if (code >= 0xDC80 && code < 0xDD00) {
    out += static_cast<char>(code - 0xDC00);
  } else {
    append_utf8(out, code);
  }
}

bool python_is_space(char32_t code) {
  if (code < 0x80) return (code >= 9 && code <= 13) || (code >= 28 && code <= 32);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

std::string_view python_strip(std::string_view text, StripSide side) {
  return strip_while(text, side, python_is_space);
}

std::string_view python_strip(std::string_view text, StripSide side, std::string_view characters) {
  std::u32string set;
  for (size_t i = 0; i < characters.size();) set += next_code_point(characters, i);
  return strip_while(text, side, [&](char32_t c) { return set.find(c) != set.npos; });
}

std::string python_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, end - buffer);  // "-1.25e-07"
  const size_t mark = text.find('e');
  int exponent = 0;
  const char* sign_skipped = buffer + mark + (text[mark + 1] == '+' ? 2 : 1);
  std::from_chars(sign_skipped, end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);
  char fixed[64];
  std::string out(fixed,
                  std::to_chars(fixed, fixed + sizeof fixed, value, std::chars_format::fixed).ptr);
  return out.find('.') == std::string::npos ? out + ".0" : out;
}

std::string python_json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return python_float(value);
}

void append_python_json_string(std::string& out, std::string_view text, bool ensure_ascii) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const char32_t code = next_code_point(text, i);
    switch (code) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\f':
        out += "\\f";
        continue;
      case '\b':
        out += "\\b";
        continue;
      default:
        break;
    }
    if (code < 0x20 || (ensure_ascii && code >= 0x7F && code < 0x10000)) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(code));
    } else if (ensure_ascii && code >= 0x10000) {
      const uint32_t rest = code - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      out += text.substr(start, i - start);
    }
  }
  out += '"';
}

namespace {

void append_python_json(std::string& out, const Json& value) {
  const char* comma = "";
  switch (value.kind()) {
    case Json::Kind::kNull:
    case Json::Kind::kBool:
    case Json::Kind::kInt:
      out += value.dump();  // Python writes these as everyone does.
      return;
    case Json::Kind::kDouble:
      out += python_json_number(value.as_double());
      return;
    case Json::Kind::kString:
      append_python_json_string(out, value.as_string(), false);
      return;
    case Json::Kind::kArray:
      out += '[';
      for (const Json& item : value.as_array()) {
        out += comma;
        comma = ", ";
        append_python_json(out, item);
      }
      out += ']';
      return;
    case Json::Kind::kObject:
      out += '{';
      for (const auto& [key, item] : value.as_object()) {
        out += comma;
        comma = ", ";
        append_python_json_string(out, key, false);
        out += ": ";
        append_python_json(out, item);
      }
      out += '}';
      return;
  }
}

}  // namespace

std::string python_json(const Json& value) {
  std::string out;
  append_python_json(out, value);
  return out;
}

}  // namespace dure
