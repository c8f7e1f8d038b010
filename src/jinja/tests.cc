// Tests ("x is defined"): find_test() of filters.h.
#include "jinja/arguments.h"
#include "jinja/filters.h"
#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

using Predicate = bool (*)(const Value& value);
using Relation = bool (*)(const Value& value, const Value& other);

bool same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  // Python shares small numbers and literals.
  return a.object() == nullptr || a.is_string() ? equal(a, b) : a.object() == b.object();
}

template <Predicate Holds>
bool simple(const Value& subject, Arguments& arguments) {
  Bound bound("test", arguments, {});
  return Holds(subject);
}
template <Relation Relates>
bool related(const Value& subject, Arguments& arguments) {
  Bound bound("test", arguments, {"other"}, 1);
  return Relates(subject, bound.at(0));
}

bool has_rest(const Value& value, const Value& divisor, Int rest) {
  return equal(binary(BinaryOperator::kModulo, value, divisor), Value(rest));
}

using V = const Value&;
constexpr TestFunction kIsEqual = related<equal>;
constexpr TestFunction kIsUnequal = related<[](V a, V b) { return !equal(a, b); }>;
constexpr TestFunction kIsLess = related<[](V a, V b) { return std::is_lt(compare(a, b, "<")); }>;
constexpr TestFunction kIsGreater =
    related<[](V a, V b) { return std::is_gt(compare(a, b, ">")); }>;

struct TestEntry {
  std::string_view name;
  TestFunction function;
};
constexpr TestEntry kTests[] = {
    {"boolean", simple<[](V v) { return v.is_bool(); }>},
    {"defined", simple<[](V v) { return !v.is_undefined(); }>},
    {"divisibleby", related<[](V v, V divisor) { return has_rest(v, divisor, 0); }>},
    {"eq", kIsEqual},
    {"equalto", kIsEqual},
    {"==", kIsEqual},
    {"even", simple<[](V v) { return has_rest(v, Value(2), 0); }>},
    {"false", simple<[](V v) { return v.is_bool() && !v.boolean(); }>},
    {"float", simple<[](V v) { return v.is_float(); }>},
    {"ge", related<[](V a, V b) { return std::is_gteq(compare(a, b, ">=")); }>},
    {"gt", kIsGreater},
    {"greaterthan", kIsGreater},
    {"in", related<[](V v, V container) { return contains(container, v); }>},
    {"integer", simple<[](V v) { return v.is_int(); }>},
    {"iterable", simple<is_iterable>},
    {"le", related<[](V a, V b) { return std::is_lteq(compare(a, b, "<=")); }>},
    {"lower", simple<[](V v) { return is_lower_text(str(v)); }>},
    {"lt", kIsLess},
    {"lessthan", kIsLess},
    {"mapping", simple<[](V v) { return v.is_dict(); }>},
    {"ne", kIsUnequal},
    {"!=", kIsUnequal},
    {"none", simple<[](V v) { return v.is_none(); }>},
    {"number", simple<[](V v) { return v.is_number(); }>},
    {"odd", simple<[](V v) { return has_rest(v, Value(2), 1); }>},
    {"sameas", related<same>},
    // What Python can count and subscript.
    {"sequence", simple<[](V v) { return v.is_indexed() || v.is_dict() || v.is_undefined(); }>},
    {"string", simple<[](V v) { return v.is_string(); }>},
    {"true", simple<[](V v) { return v.is_bool() && v.boolean(); }>},
    {"undefined", simple<[](V v) { return v.is_undefined(); }>},
    {"upper", simple<[](V v) { return is_upper_text(str(v)); }>},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  for (const TestEntry& entry : kTests) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace dure::jinja
