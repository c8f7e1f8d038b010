// Values as Python prints them: repr() and str() of value.h.
#include <algorithm>

#include "text/jinja/python_string.h"
#include "text/jinja/value.h"
#include "text/python_text.h"

namespace dure::jinja {
namespace {

void append_repr(std::string& out, const Value& value);

void append_items(std::string& out, const std::vector<Value>& items) {
  const char* comma = "";
  for (const Value& item : items) {
    out += comma, comma = ", ";
    append_repr(out, item);
  }
}

void append_dict(std::string& out, const DictObject& dict) {
  const char* comma = "";
  out += '{';
  for (const auto& [key, item] : dict.items) {
    out += comma, comma = ", ";
    append_repr(out, key);
    out += ": ";
    append_repr(out, item);
  }
  out += '}';
}

void append_view(std::string& out, const DictViewObject& view) {
  const char* names[] = {"dict_keys([", "dict_values([", "dict_items(["};
  out += names[static_cast<int>(view.part)];
  const char* comma = "";
  for (size_t i = 0; i < view.dict.dict().items.size(); ++i) {
    out += comma, comma = ", ";
    append_repr(out, view.at(i));
  }
  out += "])";
}

void append_range(std::string& out, const RangeObject& range) {
  out += "range(" + int_text(range.start) + ", " + int_text(range.stop);
  if (range.step != 1) out += ", " + int_text(range.step);
  out += ')';
}

// A namespace may hold itself: depth over values does not bound this one.
class NamespaceGuard {
 public:
  NamespaceGuard() {
    if (++depth_ > 50) {
      depth_ = 0;
      raise("RecursionError: a namespace that holds itself cannot be printed");
    }
  }
  ~NamespaceGuard() { depth_ = std::max(0, depth_ - 1); }

 private:
  static thread_local int depth_;
};
thread_local int NamespaceGuard::depth_ = 0;

void append_namespace(std::string& out, const NamespaceObject& space) {
  NamespaceGuard guard;
  const char* comma = "";
  out += "<Namespace {";
  for (const auto& [name, item] : space.members) {
    out += comma, comma = ", ";
    out += repr_of_text(name) + ": ";
    append_repr(out, item);
  }
  out += "}>";
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
      out += '[', append_items(out, value.items()), out += ']';
      return;
    case Kind::kTuple:
      out += '(', append_items(out, value.items());
      out += value.items().size() == 1 ? ",)" : ")";
      return;
    case Kind::kDict:
      append_dict(out, value.dict());
      return;
    case Kind::kRange:
      append_range(out, *value.as<RangeObject>());
      return;
    case Kind::kDictView:
      append_view(out, *value.as<DictViewObject>());
      return;
    case Kind::kGenerator:
      out += "<" + value.as<GeneratorObject>()->name + " object>";
      return;
    case Kind::kNamespace:
      append_namespace(out, *value.as<NamespaceObject>());
      return;
    case Kind::kCallable:
    case Kind::kObject:
      out += value.as<CallableObject>()->repr();
      return;
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
    if (code == '\n')
      out += "\\n";
    else if (code == '\r')
      out += "\\r";
    else if (code == '\t')
      out += "\\t";
    else if (code == '\\' || code == static_cast<char32_t>(quote))
      out += '\\', out += static_cast<char>(code);
    else if (is_printable(code))
      out += text.substr(start, i - start);
    else
      out += escaped(code);
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
