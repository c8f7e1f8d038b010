// Methods of str and dict, those of them that templates call: find_attribute() of operators.h.
#include <algorithm>
#include <set>
#include <span>

#include "jinja/arguments.h"
#include "jinja/format.h"
#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

using Method = Value (*)(const Value& self, Arguments& arguments);

struct MethodEntry {
  std::string_view name;
  Method method;
};

struct BoundMethod : CallableObject {
  BoundMethod(Value self, Method method) : self(std::move(self)), method(method) {
    depth = this->self.depth() + 1;
  }
  Value call(Context&, Arguments& arguments) override { return method(self, arguments); }
  std::string type_name() const override { return "builtin_function_or_method"; }
  Value self;
  Method method;
};

Value list_of(const std::vector<std::string>& texts) {
  return Value::list({texts.begin(), texts.end()});
}

template <std::string (*Function)(std::string_view)>
Value mapped(const Value& self, Arguments& arguments) {
  Bound bound("str method", arguments, {});
  return Value(Function(self.text()));
}

template <StripSide Side>
Value stripped(const Value& self, Arguments& arguments) {
  Bound bound("strip", arguments, {"chars"});
  return Value(bound.given(0) ? strip_characters(self.text(), bound.text(0), Side)
                              : python_strip(self.text(), Side));
}

template <auto Split>
Value split_method(const Value& self, Arguments& arguments) {
  Bound bound("split", arguments, {"sep", "maxsplit"});
  const std::optional<std::string_view> separator =
      bound.given(0) ? std::optional<std::string_view>(bound.text(0)) : std::nullopt;
  return list_of(Split(self.text(), separator, bound.integer(1, -1)));
}

Value splitlines_method(const Value& self, Arguments& arguments) {
  Bound bound("splitlines", arguments, {"keepends"});
  return list_of(split_lines(self.text(), bound.flag(0, false)));
}

Value partition_method(const Value& self, Arguments& arguments) {
  Bound bound("partition", arguments, {"sep"}, 1);
  const std::string &text = self.text(), &separator = bound.text(0);
  if (separator.empty()) raise("ValueError: empty separator");
  const size_t at = text.find(separator);
  if (at == std::string::npos) return Value::tuple({self, "", ""});
  return Value::tuple({text.substr(0, at), separator, text.substr(at + separator.size())});
}

Value find_method(const Value& self, Arguments& arguments) {
  Bound bound("find", arguments, {"sub"}, 1);
  const size_t at = self.text().find(bound.text(0));
  if (at == std::string::npos) return Value(-1);
  return Value(character_count(std::string_view(self.text()).substr(0, at)));
}

template <bool AtEnd>
Value starts_or_ends(const Value& self, Arguments& arguments) {
  const char* const name = AtEnd ? "endswith" : "startswith";
  Bound bound(name, arguments, {"prefix"}, 1);
  const auto matches = [&](const Value& part) {
    if (part.is_undefined()) raise_undefined(part);
    if (!part.is_string())
      raise("TypeError: {} first arg must be str or a tuple of str, not {}", name, type_name(part));
    return AtEnd ? self.text().ends_with(part.text()) : self.text().starts_with(part.text());
  };
  if (!bound.at(0).is_tuple()) return Value(matches(bound.at(0)));
  return Value(std::any_of(bound.at(0).items().begin(), bound.at(0).items().end(), matches));
}

Value count_method(const Value& self, Arguments& arguments) {
  Bound bound("count", arguments, {"sub"}, 1);
  return Value(count_of(self.text(), bound.text(0)));
}

Value replace_method(const Value& self, Arguments& arguments) {
  Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  return Value(replace(self.text(), bound.text(0), bound.text(1), bound.integer(2, -1)));
}

Value join_method(const Value& self, Arguments& arguments) {
  Bound bound("join", arguments, {"iterable"}, 1);
  std::string out;
  int64_t index = 0;
  for (const Value& item : to_vector(bound.at(0))) {
    if (!item.is_string())
      raise("TypeError: sequence item {}: expected str instance, {} found", index, type_name(item));
    if (index++ > 0) out += self.text();
    out += item.text();
    check_size(static_cast<int64_t>(out.size()));
  }
  return Value(std::move(out));
}

Value format_method(const Value& self, Arguments& arguments) {
  return Value(format_braces(self.text(), arguments));
}

constexpr MethodEntry kTextMethods[] = {
    {"capitalize", mapped<capitalize>},
    {"count", count_method},
    {"endswith", starts_or_ends<true>},
    {"find", find_method},
    {"format", format_method},
    {"join", join_method},
    {"lower", mapped<to_lower>},
    {"lstrip", stripped<StripSide::kLeft>},
    {"partition", partition_method},
    {"replace", replace_method},
    {"rsplit", split_method<rsplit>},
    {"rstrip", stripped<StripSide::kRight>},
    {"split", split_method<split>},
    {"splitlines", splitlines_method},
    {"startswith", starts_or_ends<false>},
    {"strip", stripped<StripSide::kBoth>},
    {"title", mapped<title_case>},
    {"upper", mapped<to_upper>},
};

Value dict_get(const Value& self, Arguments& arguments) {
  Bound bound("get", arguments, {"key", "default"}, 1);
  const Value* found = self.dict().find(bound.at(0));
  return found != nullptr ? *found : bound.value(1, Value::none());
}

Value dict_items(const Value& self, Arguments& arguments) {
  Bound bound("items", arguments, {});
  return items_of(self);
}

Value dict_keys(const Value& self, Arguments& arguments) {
  Bound bound("keys", arguments, {});
  return Value::sequence(Kind::kDictView, to_vector(self), "dict_keys");
}

Value dict_values(const Value& self, Arguments& arguments) {
  Bound bound("values", arguments, {});
  std::vector<Value> values;
  for (const auto& [key, value] : self.dict().items) values.push_back(value);
  return Value::sequence(Kind::kDictView, std::move(values), "dict_values");
}

constexpr MethodEntry kDictMethods[] = {
    {"get", dict_get}, {"items", dict_items}, {"keys", dict_keys}, {"values", dict_values}};

// Python has these too. Silence would take another branch of the template than Python takes.
[[noreturn]] void raise_unsupported(const Value& subject, std::string_view name) {
  throw TemplateError(
      fmt::format("the method '{}' of {} is not supported", name, type_name(subject)),
      ErrorCode::kUnsupported);
}
const std::set<std::string_view> kOtherTextMethods = {
    "casefold", "center",     "encode",       "expandtabs",   "format_map", "index",
    "isalnum",  "isalpha",    "isascii",      "isdecimal",    "isdigit",    "isidentifier",
    "islower",  "isnumeric",  "isprintable",  "isspace",      "istitle",    "isupper",
    "ljust",    "maketrans",  "removeprefix", "removesuffix", "rfind",      "rindex",
    "rjust",    "rpartition", "swapcase",     "translate",    "zfill"};
const std::set<std::string_view> kOtherDictMethods = {"copy", "fromkeys"};
const std::set<std::string_view> kOtherSequenceMethods = {"copy", "count", "index"};

std::optional<Value> bind(const Value& self, std::span<const MethodEntry> supported,
                          const std::set<std::string_view>& others, std::string_view name) {
  for (const MethodEntry& entry : supported) {
    if (entry.name == name) return Value(make_object<BoundMethod>(0, self, entry.method));
  }
  if (others.contains(name)) raise_unsupported(self, name);
  return std::nullopt;
}

}  // namespace

Value items_of(const Value& dict) {
  std::vector<Value> pairs;
  for (const auto& [key, value] : dict.dict().items) pairs.push_back(Value::tuple({key, value}));
  return Value::sequence(Kind::kDictView, std::move(pairs), "dict_items");
}

std::optional<Value> find_attribute(const Value& subject, std::string_view name) {
  switch (subject.kind()) {
    case Kind::kString:
      return bind(subject, kTextMethods, kOtherTextMethods, name);
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
      return bind(subject, {}, kOtherSequenceMethods, name);
    case Kind::kDict:
      return bind(subject, kDictMethods, kOtherDictMethods, name);
    case Kind::kNamespace: {
      const Value* found = subject.as<NamespaceObject>()->members.find(name);
      return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
    }
    case Kind::kCallable:
      return subject.as<CallableObject>()->attribute(subject, name);
    default:
      return std::nullopt;
  }
}

}  // namespace dure::jinja
