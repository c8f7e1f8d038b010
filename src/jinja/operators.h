// jinja/operators.h: arithmetic, subscripts and attributes, with Python's rules and the
// sandbox's refusals.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace dure::jinja {

enum class BinaryOperator {
  kAdd,
  kSubtract,
  kConcatenate,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};

Value binary(BinaryOperator op, const Value& left, const Value& right);
Value negative(const Value& value);

// a.name: the attribute (a method), else the item of that name, else undefined. Private and
// mutating ones are refused.
Value get_attribute(const Value& subject, const std::string& name);
// a[index]: the item, else the attribute of that name, else undefined.
Value get_item(const Value& subject, const Value& index);
// None for what is left out.
Value get_slice(const Value& subject, const Value& start, const Value& stop, const Value& step);

// A method of a str or dict, a member of a namespace or a loop; nothing where there is none. Throws
// for a method of Python's that is not supported (methods.cc).
std::optional<Value> find_attribute(const Value& subject, std::string_view name);

Value items_of(const Value& dict);  // dict.items()

// Item of a list, tuple, string or range by position from either end; nothing where there is none.
std::optional<Value> item_at(const Value& sequence, Int index);

// An integer argument that fits an int64, such as a width. Throws TypeError for other kinds, naming
// `what`.
int64_t to_int64(const Value& value, std::string_view what);

}  // namespace dure::jinja
