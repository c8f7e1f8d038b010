// base/options.h: one plain struct per concept; its fields are listed once, and that list serves
// configuration files, command-line flags, help, validation and the manifest.
//
//   struct AdamWOptions {
//     double learning_rate = 3e-4;
//     template <typename V> void visit(V& v) {
//       v("learning_rate", learning_rate, "peak rate", above(0));
//     }
//   };
//   from_json(options, json, "train.yaml: optimiser");  // Refuses unknown fields and bad values.
//   Json j = to_json(options);
//
// Field kinds: bool, int64_t, double, std::string, enums with names, std::vector of those, and
// nested structs with visit(). Visiting only looks at fields or sets them: where a field decides
// the defaults of others, its struct declares take_defaults() (see TakesDefaults).
#pragma once

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace dure {

// The range a number must lie in; both ends belong to it unless `open_low`.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool open_low = false;
  bool holds(double value) const {
    return (open_low ? value > low : value >= low) && value <= high;
  }
  std::string text() const;  // "above 0", "from 0 to 1", "at least 1"
};
inline Range above(double low) { return {.low = low, .open_low = true}; }
inline Range at_least(double low) { return {.low = low}; }
inline Range between(double low, double high) { return {.low = low, .high = high}; }

struct NoRule {};

// A choice is an enum in code and one of its names in files, flags and help. Beside the enum stands
//   constexpr auto enum_names(Shape) {
//     return std::to_array<EnumName<Shape>>({{Shape::kLinear, "linear"}, ...});
//   }
template <typename E>
struct EnumName {
  E value;
  const char* name;
};
template <typename E>
concept NamedEnum = std::is_enum_v<E> && requires {
  enum_names(E{});
};

template <NamedEnum E>
constexpr const char* name_of(E value) {
  for (const auto& [candidate, name] : enum_names(E{}))
    if (candidate == value) return name;
  return "";
}

// Before the fields of such a struct are read, it sees all of them and sets the defaults that they
// ask for: `objective: gspo` brings gspo's clips.
template <typename T>
concept TakesDefaults = requires(T& options, const Json& fields, const std::string& where) {
  options.take_defaults(fields, where);
};

// The value called `text`. Throws kInvalidArgument with the list of names; `where` names the field.
template <NamedEnum E>
E enum_from_name(const std::string& text, const std::string& where);

namespace options_detail {

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

void check_range(const Range& range, double value, const std::string& where);
[[noreturn]] void fail_choice(const std::vector<std::string>& names, const std::string& value,
                              const std::string& where);
void check_known(const Json& json, const std::vector<std::string>& known, const std::string& where);

// A choice may be called `on` or `off`, which YAML reads as truth values.
std::string choice_text(const Json& json, const std::string& where);

template <typename T>
void read_value(T& field, const Json& json, const std::string& where);

template <typename T, typename Rule>
void apply_rule(const T& field, const Rule& rule, const std::string& where) {
  if constexpr (std::is_same_v<Rule, Range> && std::is_arithmetic_v<T>)
    check_range(rule, static_cast<double>(field), where);
}

struct Reader {
  const Json& json;
  const std::string& where;
  std::vector<std::string> known;
  template <typename T, typename Rule = NoRule>
  void operator()(const char* name, T& field, const char* help, const Rule& rule = {}) {
    known.push_back(name);
    const std::string place = where + ": " + name;
    if (const Json* value = json.find(name)) read_value(field, *value, place);
    apply_rule(field, rule, place);
  }
};

template <typename T>
void read_value(T& field, const Json& json, const std::string& where) {
  if constexpr (std::is_same_v<T, bool>) {
    field = json.as_bool(where);
  } else if constexpr (std::is_integral_v<T>) {
    field = static_cast<T>(json.as_int(where));
  } else if constexpr (std::is_floating_point_v<T>) {
    field = static_cast<T>(json.as_double(where));
  } else if constexpr (std::is_same_v<T, std::string>) {
    field = json.as_string(where);
  } else if constexpr (NamedEnum<T>) {
    field = enum_from_name<T>(choice_text(json, where), where);
  } else if constexpr (IsVector<T>::value) {
    field.clear();
    for (const Json& item : json.as_array(where)) read_value(field.emplace_back(), item, where);
  } else {
    json.as_object(where);
    if constexpr (TakesDefaults<T>) field.take_defaults(json, where);
    Reader reader{json, where, {}};
    field.visit(reader);
    check_known(json, reader.known, where);
  }
}

struct Writer;
template <typename T>
Json write_value(const T& field);

struct Writer {
  Json out = Json::object();
  template <typename T, typename Rule = NoRule>
  void operator()(const char* name, T& field, const char*, const Rule& = {}) {
    out[name] = write_value(field);
  }
};

template <typename T>
Json write_value(const T& field) {
  if constexpr (std::is_same_v<T, bool>) {
    return Json(field);
  } else if constexpr (std::is_integral_v<T>) {
    return Json(static_cast<int64_t>(field));
  } else if constexpr (std::is_floating_point_v<T>) {
    return Json(static_cast<double>(field));
  } else if constexpr (std::is_same_v<T, std::string>) {
    return Json(field);
  } else if constexpr (NamedEnum<T>) {
    return Json(std::string(name_of(field)));
  } else if constexpr (IsVector<T>::value) {
    Json out = Json::array();
    for (const auto& item : field) out.push_back(write_value(item));
    return out;
  } else {
    Writer writer;
    T copy = field;  // One visit() serves reading and writing, so it is not const.
    copy.visit(writer);
    return writer.out;
  }
}

// What may stand in a field, in words: "integer", "drop | truncate | refuse".
template <typename T>
std::string kind_text() {
  if constexpr (std::is_same_v<T, bool>) return "true | false";
  if constexpr (std::is_same_v<T, std::string>) return "text";
  if constexpr (std::is_integral_v<T>) return "integer";
  if constexpr (std::is_floating_point_v<T>) return "number";
  std::string out;
  if constexpr (NamedEnum<T>) {
    for (const auto& choice : enum_names(T{}))
      out += (out.empty() ? "" : " | ") + std::string(choice.name);
  }
  if constexpr (IsVector<T>::value) {
    using Item = typename T::value_type;
    out = std::is_class_v<Item> && !std::is_same_v<Item, std::string>
              ? "list of objects"
              : "list of " + kind_text<Item>();
  }
  return out;
}

struct Describer {
  std::string prefix;
  std::string out;
  // The fields of a list's items, where they have any.
  template <typename Item>
  void describe_item(const std::string& name) {
    if constexpr (std::is_class_v<Item> && !std::is_same_v<Item, std::string>) {
      Describer inner{prefix + name + "[].", ""};
      Item{}.visit(inner);
      out += inner.out;
    }
  }
  template <typename T, typename Rule = NoRule>
  void operator()(const char* name, T& field, const char* help, const Rule& rule = {}) {
    if constexpr (std::is_class_v<T> && !std::is_same_v<T, std::string> && !IsVector<T>::value) {
      Describer inner{prefix + name + ".", ""};
      field.visit(inner);
      out += prefix + name + ": " + help + "\n" + inner.out;
    } else {
      std::string kind = kind_text<T>();
      if constexpr (std::is_same_v<Rule, Range>) kind += ", " + rule.text();
      out += "  " + prefix + name + " = " + write_value(field).dump() + "   " + help + " (" + kind +
             ")\n";
      if constexpr (IsVector<T>::value) describe_item<typename T::value_type>(name);
    }
  }
};

}  // namespace options_detail

template <NamedEnum E>
E enum_from_name(const std::string& text, const std::string& where) {
  std::vector<std::string> names;
  for (const auto& [value, name] : enum_names(E{})) {
    if (text == name) return value;
    names.emplace_back(name);
  }
  options_detail::fail_choice(names, text, where);
}

// Sets the fields that `json` names. Throws kInvalidArgument naming the field, its value and what
// was expected; an unknown field is refused with the nearest known name. `where` reads like
// "train.yaml: optimiser".
template <typename T>
void from_json(T& options, const Json& json, const std::string& where) {
  options_detail::read_value(options, json, where);
}

template <typename T>
Json to_json(const T& options) {
  return options_detail::write_value(options);
}

// One line a field with its default, meaning and limits: for --help and docs.
template <typename T>
std::string describe(T options = {}) {
  options_detail::Describer describer;
  options.visit(describer);
  return describer.out;
}

// Sets one field from text such as "optimiser.learning_rate=0.01" (a --set flag): parsed as YAML.
void set_path(Json& root, std::string_view assignment);

// Runs `use`, whose Errors begin with `source`, a file that `assignments` were laid over: one that
// speaks of a field which an assignment set names `--set` with that assignment instead.
void blame_assignments(const std::string& source, const std::vector<std::string>& assignments,
                       const std::function<void()>& use);

std::string nearest_name(const std::string& name,
                         const std::vector<std::string>& names);  // "" where none is near.

}  // namespace dure
