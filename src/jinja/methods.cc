// Methods of str and dict, those of them that templates call: find_attribute() of operators.h.
#include <algorithm>
#include <set>

#include "jinja/builtin.h"
#include "jinja/format.h"
#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

struct BoundMethod : CallableObject {
  BoundMethod(Value self, const Builtin& builtin) : self(std::move(self)), builtin(builtin) {
    depth = this->self.depth() + 1;
  }
  Value call(Context& context, Arguments& arguments) override {
    return builtin.call(context, self, arguments);
  }
  std::string type_name() const override { return "builtin_function_or_method"; }
  Value self;
  const Builtin& builtin;
};

Value list_of(const std::vector<std::string>& texts) {
  return Value::list({texts.begin(), texts.end()});
}

template <std::string (*Function)(std::string_view)>
Value mapped(const Value& self, const Bound&) {
  return Value(Function(self.text()));
}

template <StripSide Side>
Value stripped(const Value& self, const Bound& arguments) {
  return Value(arguments.given(0) ? strip_characters(self.text(), arguments.text(0), Side)
                                  : python_strip(self.text(), Side));
}

Value split_method(const Value& self, const Bound& arguments) {
  const std::optional<std::string_view> separator =
      arguments.given(0) ? std::optional<std::string_view>(arguments.text(0)) : std::nullopt;
  return list_of(split(self.text(), separator, arguments.integer(1, -1)));
}

Value rsplit_method(const Value& self, const Bound& arguments) {
  const std::optional<std::string_view> separator =
      arguments.given(0) ? std::optional<std::string_view>(arguments.text(0)) : std::nullopt;
  return list_of(rsplit(self.text(), separator, arguments.integer(1, -1)));
}

Value removeprefix(const Value& self, const Bound& arguments) {
  std::string_view text = self.text();
  if (text.starts_with(arguments.text(0))) text.remove_prefix(arguments.text(0).size());
  return Value(text);
}

Value removesuffix(const Value& self, const Bound& arguments) {
  std::string_view text = self.text();
  if (text.ends_with(arguments.text(0))) text.remove_suffix(arguments.text(0).size());
  return Value(text);
}

template <CharacterKind Kind>
Value all_of_kind(const Value& self, const Bound&) {
  return Value(all_are(self.text(), Kind));
}

template <Case Wanted>
Value of_case(const Value& self, const Bound&) {
  return Value(is_of_case(self.text(), Wanted));
}

template <StripSide Padded>
Value justified(const Value& self, const Bound& arguments) {
  const std::string fill = arguments.has(1) ? arguments.text(1) : " ";
  if (character_count(fill) != 1)
    raise("TypeError: The fill character must be exactly one character long");
  const std::string more = repeated(fill, arguments.integer(0, 0) - character_count(self.text()));
  return Value(Padded == StripSide::kLeft ? more + self.text() : self.text() + more);
}

Value partition(const Value& self, const Bound& arguments) {
  const std::string &text = self.text(), &separator = arguments.text(0);
  if (separator.empty()) raise("ValueError: empty separator");
  const size_t at = text.find(separator);
  if (at == std::string::npos) return Value::tuple({self, "", ""});
  return Value::tuple({text.substr(0, at), separator, text.substr(at + separator.size())});
}

template <StripSide From>
int64_t place_of(const Value& self, const Bound& arguments) {
  const std::string &text = self.text(), &part = arguments.text(0);
  const size_t at = From == StripSide::kLeft ? text.find(part) : text.rfind(part);
  if (at == std::string::npos) return -1;
  return character_count(std::string_view(text).substr(0, at));
}

template <StripSide From>
Value find(const Value& self, const Bound& arguments) {
  return Value(place_of<From>(self, arguments));
}

template <StripSide From>
Value index(const Value& self, const Bound& arguments) {
  const int64_t at = place_of<From>(self, arguments);
  if (at < 0) raise("ValueError: substring not found");
  return Value(at);
}

template <bool AtEnd>
Value starts_or_ends(const Value& self, const Bound& arguments) {
  const auto matches = [&](const Value& part) {
    if (part.is_undefined()) raise_undefined(part);
    if (!part.is_string())
      raise("TypeError: {} first arg must be str or a tuple of str, not {}",
            AtEnd ? "endswith" : "startswith", type_name(part));
    return AtEnd ? self.text().ends_with(part.text()) : self.text().starts_with(part.text());
  };
  const Value& given = arguments.at(0);
  if (!given.is_tuple()) return Value(matches(given));
  return Value(std::any_of(given.items().begin(), given.items().end(), matches));
}

Value join(const Value& self, const Bound& arguments) {
  std::string out;
  int64_t index = 0;
  for (const Value& item : to_vector(arguments.at(0))) {
    if (!item.is_string())
      raise("TypeError: sequence item {}: expected str instance, {} found", index, type_name(item));
    if (index++ > 0) out += self.text();
    out += item.text();
    check_size(static_cast<int64_t>(out.size()));
  }
  return Value(std::move(out));
}

using V = const Value&;
using B = const Bound&;
constexpr Builtin kTextMethods[] = {
    {"capitalize", "", mapped<capitalize>},
    {"count", "sub", [](V self, B b) { return Value(count_of(self.text(), b.text(0))); }},
    {"endswith", "suffix", starts_or_ends<true>},
    {"find", "sub", find<StripSide::kLeft>},
    {"format", "*", [](V self, B b) { return Value(format_braces(self.text(), b.all())); }},
    {"index", "sub", index<StripSide::kLeft>},
    {"isalpha", "", all_of_kind<CharacterKind::kAlpha>},
    {"isdecimal", "", all_of_kind<CharacterKind::kDecimal>},
    {"isdigit", "", all_of_kind<CharacterKind::kDigit>},
    {"islower", "", of_case<Case::kLower>},
    {"isspace", "", all_of_kind<CharacterKind::kSpace>},
    {"isupper", "", of_case<Case::kUpper>},
    {"join", "iterable", join},
    {"ljust", "width [fillchar]", justified<StripSide::kRight>},
    {"lower", "", mapped<to_lower>},
    {"lstrip", "[chars]", stripped<StripSide::kLeft>},
    {"partition", "sep", partition},
    {"removeprefix", "prefix", removeprefix},
    {"removesuffix", "suffix", removesuffix},
    {"replace", "old new [count]",
     [](V self, B b) {
       return Value(replace(self.text(), b.text(0), b.text(1), b.integer(2, -1)));
     }},
    {"rfind", "sub", find<StripSide::kRight>},
    {"rindex", "sub", index<StripSide::kRight>},
    {"rjust", "width [fillchar]", justified<StripSide::kLeft>},
    {"rsplit", "[sep] [maxsplit]", rsplit_method},
    {"rstrip", "[chars]", stripped<StripSide::kRight>},
    {"split", "[sep] [maxsplit]", split_method},
    {"splitlines", "", [](V self, B) { return list_of(split_lines(self.text())); }},
    {"startswith", "prefix", starts_or_ends<false>},
    {"strip", "[chars]", stripped<StripSide::kBoth>},
    {"title", "", mapped<title_case>},
    {"upper", "", mapped<to_upper>},
};

Value get(const Value& self, const Bound& arguments) {
  const Value* found = self.dict().find(arguments.at(0));
  return found != nullptr ? *found : arguments.value(1, Value::none());
}

Value values(const Value& self, const Bound&) {
  std::vector<Value> values;
  for (const auto& [key, value] : self.dict().items) values.push_back(value);
  return Value::sequence(Kind::kDictView, std::move(values), "dict_values");
}

constexpr Builtin kDictMethods[] = {
    {"copy", "", [](V self, B) { return self; }},  // Nothing changes one.
    {"get", "key [default]", get},
    {"items", "", [](V self, B) { return items_of(self); }},
    {"keys", "",
     [](V self, B) { return Value::sequence(Kind::kDictView, to_vector(self), "dict_keys"); }},
    {"values", "", values},
};

// Python has these too. Silence would take another branch of the template than Python takes.
using Words = std::set<std::string_view>;
const Words kOtherTextMethods = {"casefold",   "center",      "encode",    "expandtabs",
                                 "format_map", "isalnum",     "isascii",   "isidentifier",
                                 "isnumeric",  "isprintable", "istitle",   "maketrans",
                                 "rpartition", "swapcase",    "translate", "zfill"};
const Words kOtherDictMethods = {"fromkeys"};
const Words kOtherSequenceMethods = {"copy", "count", "index"};

std::optional<Value> method_of(const Value& self, std::span<const Builtin> supported,
                               const Words& others, std::string_view name) {
  if (const Builtin* found = find_builtin(supported, name))
    return Value(make_object<BoundMethod>(0, self, *found));
  if (!others.contains(name)) return std::nullopt;
  throw TemplateError(fmt::format("the method '{}' of {} is not supported", name, type_name(self)),
                      ErrorCode::kUnsupported);
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
      return method_of(subject, kTextMethods, kOtherTextMethods, name);
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
      return method_of(subject, {}, kOtherSequenceMethods, name);
    case Kind::kDict:
      return method_of(subject, kDictMethods, kOtherDictMethods, name);
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
