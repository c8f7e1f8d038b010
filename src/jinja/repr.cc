// Values as Python prints them: repr() and str() of value.h.
#include "base/python_text.h"
#include "jinja/python_string.h"
#include "jinja/value.h"

namespace dure::jinja {
namespace {

void append_repr(std::string& out, const Value& value);

template <typename Items, typename Append>
void append_joined(std::string& out, const Items& items, Append append) {
  const char* comma = "";
  for (const auto& item : items) {
    out += comma;
    comma = ", ";
    append(item);
  }
}

void append_sequence(std::string& out, const Value& value) {
  out += value.is_tuple() ? "(" : "[";
  append_joined(out, value.items(), [&](const Value& item) { append_repr(out, item); });
  if (value.is_tuple()) out += value.items().size() == 1 ? ",)" : ")";
  if (!value.is_tuple()) out += "]";
}

void append_dict(std::string& out, const DictObject& dict) {
  out += '{';
  append_joined(out, dict.items, [&](const auto& item) {
    append_repr(out, item.first);
    out += ": ";
    append_repr(out, item.second);
  });
  out += '}';
}

void append_repr(std::string& out, const Value& value) {
  spend_steps(1);
  check_size(static_cast<int64_t>(out.size()));
  switch (value.kind()) {
    case Kind::kUndefined:
      out += "Undefined";
      return;
    case Kind::kNone:
      out += "None";
      return;
    case Kind::kBool:
      out += value.boolean() ? "True" : "False";
      return;
    case Kind::kInt:
      out += int_text(value.integer());
      return;
    case Kind::kFloat:
      out += python_float(value.real());
      return;
    case Kind::kString:
      out += value.string().markup ? "Markup(" + repr_of_text(value.text()) + ")"
                                   : repr_of_text(value.text());
      return;
    case Kind::kList:
    case Kind::kTuple:
      return append_sequence(out, value);
    case Kind::kDictView:
      out += type_name(value) + "(";
      append_sequence(out, value);
      out += ')';
      return;
    case Kind::kDict:
      return append_dict(out, value.dict());
    default:
      raise("printing a '{}' is not supported", type_name(value));
  }
}

}  // namespace

std::string int_text(Int value) {
  const bool negative = value < 0;
  __extension__ unsigned __int128 rest = negative ? -static_cast<unsigned __int128>(value) : value;
  std::string digits;
  do {
    digits += static_cast<char>('0' + static_cast<int>(rest % 10));
    rest /= 10;
  } while (rest != 0);
  if (negative) digits += '-';
  return {digits.rbegin(), digits.rend()};
}

std::string repr_of_text(std::string_view text) {
  const char quote =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"'
                                                                                            : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const char32_t code = next_code_point(text, i);
    if (code == '\n') {
      out += "\\n";
    } else if (code == '\r') {
      out += "\\r";
    } else if (code == '\t') {
      out += "\\t";
    } else if (code == '\\' || code == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(code);
    } else if (is_printable(code)) {
      out += text.substr(start, i - start);
    } else {
      out += escaped(code);
    }
  }
  return out += quote;
}

std::string repr(const Value& value) {
  std::string out;
  append_repr(out, value);
  return out;
}

std::string str(const Value& value) {
  if (value.is_string()) return value.text();
  return value.is_undefined() ? "" : repr(value);
}

}  // namespace dure::jinja
