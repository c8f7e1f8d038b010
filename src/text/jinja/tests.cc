// Tests ("x is defined"): find_test() of filters.h.
#include <algorithm>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_string.h"

namespace dure::jinja {
namespace {

// A test of the value alone.
template <bool (*Predicate)(const Value&)>
bool simple(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("test", arguments, {});
  return Predicate(subject);
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_boolean(const Value& value) { return value.is_bool(); }
bool is_true(const Value& value) { return value.is_bool() && value.boolean(); }
bool is_false(const Value& value) { return value.is_bool() && !value.boolean(); }
bool is_integer(const Value& value) { return value.is_int(); }
bool is_float(const Value& value) { return value.is_float(); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_text(const Value& value) { return value.is_string(); }
bool is_mapping(const Value& value) { return value.is_dict(); }
bool is_escaped(const Value& value) { return value.is_string() && value.string().markup; }
bool is_lower(const Value& value) { return is_of_class(str(value), "lower"); }
bool is_upper(const Value& value) { return is_of_class(str(value), "upper"); }
bool is_any_iterable(const Value& value) { return is_iterable(value); }
bool is_sequence(const Value& value) {
  return value.is_string() || value.is_list() || value.is_tuple() || value.is_dict() ||
         value.is_undefined() || value.kind() == Kind::kRange;
}
bool is_callable(const Value& value) {
  return value.is_undefined() || value.kind() == Kind::kCallable;
}
bool is_filter(const Value& value) {
  return value.is_string() && find_filter(value.text()) != nullptr;
}
bool is_test(const Value& value) { return value.is_string() && find_test(value.text()) != nullptr; }

bool has_rest(const Value& value, Int divisor, Int rest) {
  return equal(binary(BinaryOperator::kModulo, value, Value(divisor)), Value(rest));
}
bool is_odd(const Value& value) { return has_rest(value, 2, 1); }
bool is_even(const Value& value) { return has_rest(value, 2, 0); }

bool divisible_by(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("divisibleby", arguments, {"num"}, 1);
  return equal(binary(BinaryOperator::kModulo, subject, bound.at(0)), Value(0));
}

bool same_as(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("sameas", arguments, {"other"}, 1);
  const Value& other = bound.at(0);
  if (subject.kind() != other.kind()) return false;
  const bool by_value = subject.object() == nullptr ||
                        subject.is_string();  // Python shares small numbers and literals.
  return by_value ? equal(subject, other) : subject.object() == other.object();
}

bool is_in(Context&, const Value& subject, Arguments& arguments) {
  Bound bound("in", arguments, {"seq"}, 1);
  return contains(bound.at(0), subject);
}

bool is_equal(Context&, const Value& subject, Arguments& arguments) {
  return equal(subject, Bound("eq", arguments, {"other"}, 1).at(0));
}
bool is_unequal(Context&, const Value& subject, Arguments& arguments) {
  return !equal(subject, Bound("ne", arguments, {"other"}, 1).at(0));
}
bool is_greater(Context&, const Value& subject, Arguments& arguments) {
  return compare(subject, Bound("gt", arguments, {"other"}, 1).at(0), ">") > 0;
}
bool is_greater_equal(Context&, const Value& subject, Arguments& arguments) {
  return compare(subject, Bound("ge", arguments, {"other"}, 1).at(0), ">=") >= 0;
}
bool is_less(Context&, const Value& subject, Arguments& arguments) {
  return compare(subject, Bound("lt", arguments, {"other"}, 1).at(0), "<") < 0;
}
bool is_less_equal(Context&, const Value& subject, Arguments& arguments) {
  return compare(subject, Bound("le", arguments, {"other"}, 1).at(0), "<=") <= 0;
}

struct TestEntry {
  std::string_view name;
  TestFunction function;
};

constexpr TestEntry kTests[] = {
    {"boolean", simple<is_boolean>},
    {"callable", simple<is_callable>},
    {"defined", simple<is_defined>},
    {"divisibleby", divisible_by},
    {"eq", is_equal},
    {"equalto", is_equal},
    {"==", is_equal},
    {"escaped", simple<is_escaped>},
    {"even", simple<is_even>},
    {"false", simple<is_false>},
    {"filter", simple<is_filter>},
    {"float", simple<is_float>},
    {"ge", is_greater_equal},
    {">=", is_greater_equal},
    {"gt", is_greater},
    {"greaterthan", is_greater},
    {">", is_greater},
    {"in", is_in},
    {"integer", simple<is_integer>},
    {"iterable", simple<is_any_iterable>},
    {"le", is_less_equal},
    {"<=", is_less_equal},
    {"lower", simple<is_lower>},
    {"lt", is_less},
    {"lessthan", is_less},
    {"<", is_less},
    {"mapping", simple<is_mapping>},
    {"ne", is_unequal},
    {"!=", is_unequal},
    {"none", simple<is_none>},
    {"number", simple<is_number>},
    {"odd", simple<is_odd>},
    {"sameas", same_as},
    {"sequence", simple<is_sequence>},
    {"string", simple<is_text>},
    {"test", simple<is_test>},
    {"true", simple<is_true>},
    {"undefined", simple<is_undefined>},
    {"upper", simple<is_upper>},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  const auto found = std::find_if(std::begin(kTests), std::end(kTests),
                                  [&](const TestEntry& entry) { return entry.name == name; });
  return found != std::end(kTests) ? found->function : nullptr;
}

}  // namespace dure::jinja
