// Methods of str, list, tuple, dict and range: find_attribute() of operators.h.
#include <algorithm>
#include <cmath>

#include "text/jinja/arguments.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_string.h"

namespace dure::jinja {
namespace {

using Method = Value (*)(const Value& self, Arguments& arguments);

struct MethodEntry {
  std::string_view name;
  Method method;
};

struct BoundMethod : CallableObject {
  BoundMethod(Value self, const MethodEntry& entry) : self(std::move(self)), entry(entry) {
    depth = this->self.depth() + 1;
  }
  Value call(Context&, Arguments& arguments) override { return entry.method(self, arguments); }
  std::string type_name() const override { return "builtin_function_or_method"; }
  std::string repr() const override {
    return fmt::format("<built-in method {} of {} object>", entry.name, jinja::type_name(self));
  }
  Value self;
  const MethodEntry& entry;
};

Value list_of(const std::vector<std::string>& texts) {
  std::vector<Value> items;
  items.reserve(texts.size());
  for (const std::string& text : texts) items.emplace_back(text);
  return Value::list(std::move(items));
}

template <std::string (*Function)(std::string_view)>
Value mapped(const Value& self, Arguments& arguments) {
  Bound bound("str method", arguments, {});
  return Value(Function(self.text()));
}

template <StripSide Side>
Value stripped(const Value& self, Arguments& arguments) {
  Bound bound("strip", arguments, {"chars"});
  if (!bound.given(0)) return Value(python_strip(self.text(), Side));
  return Value(strip_characters(self.text(), bound.text(0), Side));
}

template <Align Side>
Value padded(const Value& self, Arguments& arguments) {
  Bound bound("center", arguments, {"width", "fillchar"}, 1);
  const std::string fill = bound.has(1) ? bound.text(1) : " ";
  if (character_count(fill) != 1)
    raise("TypeError: The fill character must be exactly one character long");
  return Value(pad(self.text(), bound.integer(0, 0), Side, fill));
}

template <bool FromRight>
Value split_method(const Value& self, Arguments& arguments) {
  Bound bound("split", arguments, {"sep", "maxsplit"});
  const std::optional<std::string_view> separator =
      bound.given(0) ? std::optional<std::string_view>(bound.text(0)) : std::nullopt;
  const int64_t count_max = bound.integer(1, -1);
  return list_of(FromRight ? rsplit(self.text(), separator, count_max)
                           : split(self.text(), separator, count_max));
}

template <bool FromRight>
Value partition(const Value& self, Arguments& arguments) {
  Bound bound("partition", arguments, {"sep"}, 1);
  const std::string &text = self.text(), &separator = bound.text(0);
  if (separator.empty()) raise("ValueError: empty separator");
  const size_t at = FromRight ? text.rfind(separator) : text.find(separator);
  if (at == std::string::npos)
    return FromRight ? Value::tuple({"", "", self}) : Value::tuple({self, "", ""});
  return Value::tuple(
      {Value(text.substr(0, at)), Value(separator), Value(text.substr(at + separator.size()))});
}

struct Window {
  std::string_view text;
  int64_t first_character;
  bool possible;  // False where start lies behind the end: not even "" is found there.
};

// text[start:stop] for find, count, startswith and their kin.
Window window_of(const Value& self, const Bound& bound, size_t first_argument) {
  const int64_t length = self.string().length;
  const auto clip = [&](size_t i, int64_t otherwise) {
    if (!bound.given(i)) return otherwise;
    const int64_t given = bound.integer(i, otherwise);
    return std::max<int64_t>(0, given < 0 ? given + length : given);
  };
  const int64_t start = clip(first_argument, 0),
                stop = std::min(length, clip(first_argument + 1, length));
  if (start > stop) return {"", start, start <= length && start == stop};
  const size_t from = byte_offset(self.text(), start);
  const std::string_view tail = std::string_view(self.text()).substr(from);
  return {stop == length ? tail : tail.substr(0, byte_offset(tail, stop - start)), start, true};
}

template <bool FromRight, bool Raises>
Value find_method(const Value& self, Arguments& arguments) {
  Bound bound("find", arguments, {"sub", "start", "end"}, 1);
  const Window window = window_of(self, bound, 1);
  const std::string& part = bound.text(0);
  size_t at = std::string_view::npos;
  if (window.possible) at = FromRight ? window.text.rfind(part) : window.text.find(part);
  if (at == std::string_view::npos) {
    if (Raises) raise("ValueError: substring not found");
    return Value(-1);
  }
  return Value(window.first_character + character_count(window.text.substr(0, at)));
}

template <bool AtEnd>
Value starts_or_ends(const Value& self, Arguments& arguments) {
  Bound bound(AtEnd ? "endswith" : "startswith", arguments, {"prefix", "start", "end"}, 1);
  const Window window = window_of(self, bound, 1);
  const auto matches = [&](const Value& part) {
    if (part.is_undefined()) raise_undefined(part);
    if (!part.is_string())
      raise("TypeError: {} first arg must be str or a tuple of str, not {}",
            AtEnd ? "endswith" : "startswith", type_name(part));
    return window.possible &&
           (AtEnd ? window.text.ends_with(part.text()) : window.text.starts_with(part.text()));
  };
  if (!bound.at(0).is_tuple()) return Value(matches(bound.at(0)));
  return Value(std::any_of(bound.at(0).items().begin(), bound.at(0).items().end(), matches));
}

Value count_method(const Value& self, Arguments& arguments) {
  Bound bound("count", arguments, {"sub", "start", "end"}, 1);
  const Window window = window_of(self, bound, 1);
  return Value(window.possible ? count_of(window.text, bound.text(0)) : 0);
}

Value replace_method(const Value& self, Arguments& arguments) {
  Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  return Value(replace(self.text(), bound.text(0), bound.text(1), bound.integer(2, -1)));
}

Value join_method(const Value& self, Arguments& arguments) {
  Bound bound("join", arguments, {"iterable"}, 1);
  std::string out;
  int64_t index = 0;
  Iterator at(bound.at(0));
  for (Value item; at.next(item); ++index) {
    if (!item.is_string())
      raise("TypeError: sequence item {}: expected str instance, {} found", index, type_name(item));
    if (index > 0) out += self.text();
    out += item.text();
    check_size(static_cast<int64_t>(out.size()));
  }
  return Value(std::move(out));
}

Value splitlines_method(const Value& self, Arguments& arguments) {
  Bound bound("splitlines", arguments, {"keepends"});
  return list_of(split_lines(self.text(), bound.flag(0, false)));
}

Value zfill_method(const Value& self, Arguments& arguments) {
  Bound bound("zfill", arguments, {"width"}, 1);
  const std::string& text = self.text();
  const size_t sign = !text.empty() && (text[0] == '+' || text[0] == '-') ? 1 : 0;
  return Value(text.substr(0, sign) + pad(std::string_view(text).substr(sign),
                                          bound.integer(0, 0) - static_cast<int64_t>(sign),
                                          Align::kRight, "0"));
}

Value expandtabs_method(const Value& self, Arguments& arguments) {
  Bound bound("expandtabs", arguments, {"tabsize"});
  return Value(expand_tabs(self.text(), bound.integer(0, 8)));
}

template <bool AtEnd>
Value remove_method(const Value& self, Arguments& arguments) {
  Bound bound(AtEnd ? "removesuffix" : "removeprefix", arguments, {"part"}, 1);
  const std::string &text = self.text(), &part = bound.text(0);
  if (AtEnd) return text.ends_with(part) ? Value(text.substr(0, text.size() - part.size())) : self;
  return text.starts_with(part) ? Value(text.substr(part.size())) : self;
}

Value format_method(const Value& self, Arguments& arguments) {
  return Value(format_braces(self.text(), arguments));
}

Value format_map_method(const Value& self, Arguments& arguments) {
  Bound bound("format_map", arguments, {"mapping"}, 1);
  if (!bound.at(0).is_dict()) raise("TypeError: format_map() takes a mapping");
  Arguments values;
  for (const auto& [key, value] : bound.at(0).dict().items) {
    if (key.is_string()) values.named.emplace_back(key.text(), value);
  }
  return Value(format_braces(self.text(), values));
}

// isalpha() and its kin: the class is in the name of the method.
template <char... Name>
Value class_method(const Value& self, Arguments& arguments) {
  static constexpr char kName[] = {Name..., '\0'};
  Bound bound("str method", arguments, {});
  return Value(is_of_class(self.text(), kName));
}

constexpr MethodEntry kTextMethods[] = {
    {"capitalize", mapped<capitalize>},
    {"casefold", mapped<to_casefold>},
    {"center", padded<Align::kCenter>},
    {"count", count_method},
    {"endswith", starts_or_ends<true>},
    {"expandtabs", expandtabs_method},
    {"find", find_method<false, false>},
    {"format", format_method},
    {"format_map", format_map_method},
    {"index", find_method<false, true>},
    {"isalnum", class_method<'a', 'l', 'n', 'u', 'm'>},
    {"isalpha", class_method<'a', 'l', 'p', 'h', 'a'>},
    {"isascii", class_method<'a', 's', 'c', 'i', 'i'>},
    {"isdecimal", class_method<'d', 'e', 'c', 'i', 'm', 'a', 'l'>},
    {"isdigit", class_method<'d', 'i', 'g', 'i', 't'>},
    {"isidentifier", class_method<'i', 'd', 'e', 'n', 't', 'i', 'f', 'i', 'e', 'r'>},
    {"islower", class_method<'l', 'o', 'w', 'e', 'r'>},
    {"isnumeric", class_method<'n', 'u', 'm', 'e', 'r', 'i', 'c'>},
    {"isprintable", class_method<'p', 'r', 'i', 'n', 't', 'a', 'b', 'l', 'e'>},
    {"isspace", class_method<'s', 'p', 'a', 'c', 'e'>},
    {"istitle", class_method<'t', 'i', 't', 'l', 'e'>},
    {"isupper", class_method<'u', 'p', 'p', 'e', 'r'>},
    {"join", join_method},
    {"ljust", padded<Align::kLeft>},
    {"lower", mapped<to_lower>},
    {"lstrip", stripped<StripSide::kLeft>},
    {"partition", partition<false>},
    {"removeprefix", remove_method<false>},
    {"removesuffix", remove_method<true>},
    {"replace", replace_method},
    {"rfind", find_method<true, false>},
    {"rindex", find_method<true, true>},
    {"rjust", padded<Align::kRight>},
    {"rpartition", partition<true>},
    {"rsplit", split_method<true>},
    {"rstrip", stripped<StripSide::kRight>},
    {"split", split_method<false>},
    {"splitlines", splitlines_method},
    {"startswith", starts_or_ends<false>},
    {"strip", stripped<StripSide::kBoth>},
    {"swapcase", mapped<swap_case>},
    {"title", mapped<title_case>},
    {"upper", mapped<to_upper>},
    {"zfill", zfill_method},
};

Value sequence_count(const Value& self, Arguments& arguments) {
  Bound bound("count", arguments, {"value"}, 1);
  int64_t count = 0;
  Iterator at(self);
  for (Value item; at.next(item);) count += equal(item, bound.at(0));
  return Value(count);
}

Value sequence_index(const Value& self, Arguments& arguments) {
  Bound bound("index", arguments, {"value", "start", "stop"}, 1);
  const int64_t length = length_of(self);
  const auto clip = [&](int64_t given) {
    return std::max<int64_t>(0, given < 0 ? given + length : given);
  };
  const int64_t start = clip(bound.integer(1, 0)),
                stop = std::min(length, clip(bound.integer(2, length)));
  for (int64_t i = start; i < stop; ++i) {
    if (equal(*item_at(self, i), bound.at(0))) return Value(i);
  }
  raise("ValueError: {} is not in {}", repr(bound.at(0)), type_name(self));
}

Value copy_method(const Value& self, Arguments& arguments) {
  Bound bound("copy", arguments, {});
  return self;  // It never changes.
}

constexpr MethodEntry kListMethods[] = {
    {"copy", copy_method}, {"count", sequence_count}, {"index", sequence_index}};
constexpr MethodEntry kTupleMethods[] = {{"count", sequence_count}, {"index", sequence_index}};

Value dict_get(const Value& self, Arguments& arguments) {
  Bound bound("get", arguments, {"key", "default"}, 1);
  const Value* found = self.dict().find(bound.at(0));
  return found != nullptr ? *found : bound.value(1, Value::none());
}

template <DictViewObject::Part Part>
Value dict_view(const Value& self, Arguments& arguments) {
  Bound bound("dict method", arguments, {});
  return Value(std::shared_ptr<Object>(make_object<DictViewObject>(0, self, Part)));
}

constexpr MethodEntry kDictMethods[] = {
    {"copy", copy_method},
    {"get", dict_get},
    {"items", dict_view<DictViewObject::Part::kItems>},
    {"keys", dict_view<DictViewObject::Part::kKeys>},
    {"values", dict_view<DictViewObject::Part::kValues>},
};

Value is_integer_method(const Value& self, Arguments& arguments) {
  Bound bound("is_integer", arguments, {});
  return Value(std::isfinite(self.real()) && std::floor(self.real()) == self.real());
}

constexpr MethodEntry kFloatMethods[] = {{"is_integer", is_integer_method}};

template <size_t Count>
std::optional<Value> bind(const Value& self, const MethodEntry (&table)[Count],
                          std::string_view name) {
  for (const MethodEntry& entry : table) {
    if (entry.name == name)
      return Value(std::shared_ptr<Object>(make_object<BoundMethod>(0, self, entry)));
  }
  return std::nullopt;
}

std::optional<Value> list_attribute(const Value& subject, std::string_view name) {
  if (subject.as<ListObject>()->group) {
    if (name == "grouper") return subject.items()[0];
    if (name == "list") return subject.items()[1];
  }
  return subject.is_list() ? bind(subject, kListMethods, name) : bind(subject, kTupleMethods, name);
}

std::optional<Value> range_attribute(const Value& subject, std::string_view name) {
  const auto& range = *subject.as<RangeObject>();
  if (name == "start") return Value(range.start);
  if (name == "stop") return Value(range.stop);
  if (name == "step") return Value(range.step);
  return bind(subject, kTupleMethods, name);
}

}  // namespace

std::optional<Value> find_attribute(const Value& subject, std::string_view name) {
  switch (subject.kind()) {
    case Kind::kString:
      return bind(subject, kTextMethods, name);
    case Kind::kList:
    case Kind::kTuple:
      return list_attribute(subject, name);
    case Kind::kDict:
      return bind(subject, kDictMethods, name);
    case Kind::kFloat:
      return bind(subject, kFloatMethods, name);
    case Kind::kRange:
      return range_attribute(subject, name);
    case Kind::kNamespace: {
      const Value* found = subject.as<NamespaceObject>()->find(name);
      return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
    }
    case Kind::kCallable:
    case Kind::kObject:
      return subject.as<CallableObject>()->attribute(subject, name);
    default:
      return std::nullopt;
  }
}

}  // namespace dure::jinja
