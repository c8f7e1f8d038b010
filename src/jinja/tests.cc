// Tests ("x is defined").
#include "jinja/builtin.h"
#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

bool same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  // Python shares small numbers and literals.
  return a.object() == nullptr || a.is_string() ? equal(a, b) : a.object() == b.object();
}

bool has_rest(const Value& value, const Value& divisor, Int rest) {
  return equal(binary(BinaryOperator::kModulo, value, divisor), Value(rest));
}

template <bool (*Holds)(const Value& value)>
Value simple(const Value& self, const Bound&) {
  return Value(Holds(self));
}
template <bool (*Holds)(const Value& value, const Value& other)>
Value related(const Value& self, const Bound& arguments) {
  return Value(Holds(self, arguments.at(0)));
}

using V = const Value&;
constexpr auto kEqual = related<equal>;
constexpr auto kUnequal = related<[](V a, V b) { return !equal(a, b); }>;
constexpr auto kLess = related<[](V a, V b) { return std::is_lt(compare(a, b, "<")); }>;
constexpr auto kGreater = related<[](V a, V b) { return std::is_gt(compare(a, b, ">")); }>;

constexpr Builtin kTests[] = {
    {"boolean", "", simple<[](V v) { return v.is_bool(); }>},
    {"defined", "", simple<[](V v) { return !v.is_undefined(); }>},
    {"divisibleby", "num", related<[](V v, V divisor) { return has_rest(v, divisor, 0); }>},
    {"eq", "other", kEqual},
    {"equalto", "other", kEqual},
    {"==", "other", kEqual},
    {"even", "", simple<[](V v) { return has_rest(v, Value(2), 0); }>},
    {"false", "", simple<[](V v) { return v.is_bool() && !v.boolean(); }>},
    {"float", "", simple<[](V v) { return v.is_float(); }>},
    {"ge", "other", related<[](V a, V b) { return std::is_gteq(compare(a, b, ">=")); }>},
    {"gt", "other", kGreater},
    {"greaterthan", "other", kGreater},
    {"in", "seq", related<[](V v, V container) { return contains(container, v); }>},
    {"integer", "", simple<[](V v) { return v.is_int(); }>},
    {"iterable", "", simple<is_iterable>},
    {"le", "other", related<[](V a, V b) { return std::is_lteq(compare(a, b, "<=")); }>},
    {"lower", "", simple<[](V v) { return is_of_case(str(v), Case::kLower); }>},
    {"lt", "other", kLess},
    {"lessthan", "other", kLess},
    {"mapping", "", simple<[](V v) { return v.is_dict(); }>},
    {"ne", "other", kUnequal},
    {"!=", "other", kUnequal},
    {"none", "", simple<[](V v) { return v.is_none(); }>},
    {"number", "", simple<[](V v) { return v.is_number(); }>},
    {"odd", "", simple<[](V v) { return has_rest(v, Value(2), 1); }>},
    {"sameas", "other", related<same>},
    // What Python can count and subscript.
    {"sequence", "", simple<[](V v) { return v.is_indexed() || v.is_dict() || v.is_undefined(); }>},
    {"string", "", simple<[](V v) { return v.is_string(); }>},
    {"true", "", simple<[](V v) { return v.is_bool() && v.boolean(); }>},
    {"undefined", "", simple<[](V v) { return v.is_undefined(); }>},
    {"upper", "", simple<[](V v) { return is_of_case(str(v), Case::kUpper); }>},
};

}  // namespace

const Builtin* find_test(std::string_view name) { return find_builtin(kTests, name); }

}  // namespace dure::jinja
