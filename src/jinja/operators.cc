// Numbers as Python counts: exact integers, quotients rounded down. Subscripts and slices.
#include "jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/html.h"
#include "jinja/format.h"
#include "jinja/python_string.h"

namespace dure::jinja {
namespace {

const char* sign_of(BinaryOperator op) {
  const char* signs[] = {"+", "-", "~", "*", "/", "//", "%", "** or pow()"};
  return signs[static_cast<int>(op)];
}

[[noreturn]] void raise_operands(BinaryOperator op, const Value& a, const Value& b) {
  raise("TypeError: unsupported operand type(s) for {}: '{}' and '{}'", sign_of(op), type_name(a),
        type_name(b));
}

[[noreturn]] void raise_overflow() { raise("OverflowError: an integer above 127 bits"); }

Int power(Int base, Int exponent) {
  Int result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) raise_overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) raise_overflow();
  }
  return result;
}

Value binary_int(BinaryOperator op, Int a, Int b) {
  Int result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOperator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOperator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOperator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOperator::kDivide:
      if (b == 0) raise("ZeroDivisionError: division by zero");
      return Value(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case BinaryOperator::kFloorDivide:
    case BinaryOperator::kModulo: {
      if (b == 0) raise("ZeroDivisionError: integer division or modulo by zero");
      if (b == -1)
        return op == BinaryOperator::kModulo ? Value(Int{0})
                                             : binary_int(BinaryOperator::kSubtract, 0, a);
      const bool fix = a % b != 0 && (a % b < 0) != (b < 0);  // Python rounds down.
      return op == BinaryOperator::kModulo ? Value(fix ? a % b + b : a % b)
                                           : Value(fix ? a / b - 1 : a / b);
    }
    case BinaryOperator::kPower:
      if (b < 0) raise("a negative power is not supported");
      return Value(power(a, b));
    case BinaryOperator::kConcatenate:
      break;
  }
  if (overflow) raise_overflow();
  return Value(result);
}

Value binary_float(BinaryOperator op, double a, double b) {
  switch (op) {
    case BinaryOperator::kAdd:
      return Value(a + b);
    case BinaryOperator::kSubtract:
      return Value(a - b);
    case BinaryOperator::kMultiply:
      return Value(a * b);
    case BinaryOperator::kDivide:
      if (b == 0) raise("ZeroDivisionError: float division by zero");
      return Value(a / b);
    default:
      raise("'{}' of floats is not supported", sign_of(op));
  }
}

Value concatenate(const Value& a, const Value& b) {
  if (a.is_string()) {
    if (!a.string().markup && !b.string().markup) return Value(a.text() + b.text());
    const auto safe = [](const Value& value) {
      return value.string().markup ? value.text() : escape_html(value.text());
    };
    return Value::markup(safe(a) + safe(b));
  }
  std::vector<Value> items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return Value::sequence(a.kind(), std::move(items));
}

std::string type_in_message(const Value& subject) {
  return subject.is_none() ? "None" : type_name(subject) + " object";
}

// What the sandbox of transformers refuses: private names, and methods that change a value.
bool is_unsafe(const Value& subject, std::string_view name) {
  static const std::set<std::string_view> kList = {"append", "clear", "pop",    "reverse",
                                                   "insert", "sort",  "extend", "remove"};
  static const std::set<std::string_view> kDict = {"clear", "pop", "popitem", "setdefault",
                                                   "update"};
  if (name.starts_with("__") && name.ends_with("__") && subject.kind() != Kind::kNamespace)
    return true;
  return (subject.is_list() && kList.contains(name)) || (subject.is_dict() && kDict.contains(name));
}

// The attribute, or an undefined that says it is unsafe; nothing where there is none.
std::optional<Value> safe_attribute(const Value& subject, std::string_view name) {
  if (!is_unsafe(subject, name)) return find_attribute(subject, name);
  return Value::undefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(subject)));
}

struct SliceBounds {
  Int start, stop, step;
};

// Python's slice.indices().
SliceBounds slice_bounds(int64_t length, const Value& start, const Value& stop, const Value& step) {
  const auto number = [](const Value& value) -> std::optional<Int> {
    if (value.is_none()) return std::nullopt;
    if (value.is_undefined()) raise_undefined(value);
    if (!value.is_integral())
      raise("TypeError: slice indices must be integers or None or have an __index__ method");
    return value.integer();
  };
  const Int by = number(step).value_or(1);
  if (by == 0) raise("ValueError: slice step cannot be zero");
  const Int low = by > 0 ? 0 : -1, high = by > 0 ? length : length - 1;
  const auto clip = [&](std::optional<Int> given, Int otherwise) {
    if (!given.has_value()) return otherwise;
    return *given < 0 ? std::max(low, *given + length) : std::min(high, *given);
  };
  return {clip(number(start), by > 0 ? low : high), clip(number(stop), by > 0 ? high : low), by};
}

// The positions of the slice, in order.
template <typename Visit>
void for_each_place(const SliceBounds& bounds, Visit visit) {
  for (Int i = bounds.start; bounds.step > 0 ? i < bounds.stop : i > bounds.stop; i += bounds.step)
    visit(static_cast<size_t>(i));
}

Value slice_text(const Value& value, const SliceBounds& bounds) {
  const std::string& text = value.text();
  spend_for_bytes(static_cast<int64_t>(text.size()));
  if (bounds.step == 1) {
    const auto start = static_cast<int64_t>(bounds.start);
    const auto count = static_cast<int64_t>(std::max<Int>(0, bounds.stop - bounds.start));
    const std::string_view tail = std::string_view(text).substr(byte_offset(text, start));
    return Value(tail.substr(0, byte_offset(tail, count)));
  }
  const std::vector<char32_t> codes = code_points(text);
  std::string out;
  for_each_place(bounds, [&](size_t i) { append_code_point(out, codes[i]); });
  return Value(std::move(out));
}

// "x" * 3
Value repeat(const Value& value, Int count) {
  const std::string& text = value.text();
  constexpr Int kCountMax = Int{1} << 30;  // Beyond what memory there may be.
  if (count > kCountMax && !text.empty()) raise("MemoryError: a text {} times", int_text(count));
  if (text.empty() || count < 0) count = 0;
  spend_for_bytes(static_cast<int64_t>(text.size()) * static_cast<int64_t>(count));
  std::string out = repeated(text, static_cast<int64_t>(count));
  return value.string().markup ? Value::markup(std::move(out)) : Value(std::move(out));
}

}  // namespace

Value binary(BinaryOperator op, const Value& a, const Value& b) {
  if (op == BinaryOperator::kConcatenate) return Value(str(a) + str(b));
  if (op == BinaryOperator::kModulo && a.is_string()) return Value(format_percent(a.text(), b));
  if (a.is_undefined()) raise_undefined(a);
  if (b.is_undefined()) raise_undefined(b);
  if (a.is_integral() && b.is_integral()) return binary_int(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return binary_float(op, a.real(), b.real());
  if (op == BinaryOperator::kAdd && a.kind() == b.kind() &&
      (a.is_string() || a.is_list() || a.is_tuple()))
    return concatenate(a, b);
  if (op == BinaryOperator::kMultiply && a.is_string() && b.is_integral())
    return repeat(a, b.integer());
  if (op == BinaryOperator::kMultiply && a.is_integral() && b.is_string())
    return repeat(b, a.integer());
  if (op == BinaryOperator::kAdd && a.is_string())
    raise("TypeError: can only concatenate str (not \"{}\") to str", type_name(b));
  if (op == BinaryOperator::kAdd && a.is_list())
    raise("TypeError: can only concatenate list (not \"{}\") to list", type_name(b));
  raise_operands(op, a, b);
}

Value negative(const Value& value) {
  if (value.is_undefined()) raise_undefined(value);
  if (value.is_integral()) return binary_int(BinaryOperator::kSubtract, 0, value.integer());
  if (value.is_float()) return Value(-value.real());
  raise("TypeError: bad operand type for unary -: '{}'", type_name(value));
}

std::optional<Value> item_at(const Value& sequence, Int index) {
  const int64_t length = length_of(sequence);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  const auto at = static_cast<int64_t>(index);
  if (!sequence.is_string()) return sequence.items()[static_cast<size_t>(at)];
  const std::string& text = sequence.text();
  if (sequence.string().ascii()) return Value(std::string(1, text[static_cast<size_t>(at)]));
  spend_for_bytes(at);
  size_t begin = byte_offset(text, at), end = begin;
  next_code_point(text, end);
  return Value(text.substr(begin, end - begin));
}

Value get_attribute(const Value& subject, const std::string& name) {
  const bool dunder = name.starts_with("__") && name.ends_with("__");
  if (subject.is_undefined() && !dunder) raise_undefined(subject);
  if (std::optional<Value> found = safe_attribute(subject, name)) return *std::move(found);
  if (subject.is_dict()) {
    if (const Value* item = subject.dict().find(std::string_view(name))) return *item;
  }
  return Value::undefined(
      fmt::format("'{}' has no attribute '{}'", type_in_message(subject), name));
}

Value get_item(const Value& subject, const Value& index) {
  if (subject.is_undefined()) raise_undefined(subject);
  if (subject.is_indexed() && index.is_integral()) {
    if (std::optional<Value> item = item_at(subject, index.integer())) return *std::move(item);
  }
  const bool hashable = index.is_tuple() || !(index.is_sequence() || index.is_dict());
  if (subject.is_dict() && hashable) {
    if (const Value* item = subject.dict().find(index)) return *item;
  }
  if (!index.is_string())
    return Value::undefined(
        fmt::format("{} has no element {}", type_in_message(subject), repr(index)));
  if (std::optional<Value> found = safe_attribute(subject, index.text())) return *std::move(found);
  return Value::undefined(
      fmt::format("'{}' has no attribute {}", type_in_message(subject), repr(index)));
}

Value get_slice(const Value& subject, const Value& start, const Value& stop, const Value& step) {
  if (subject.is_undefined()) raise_undefined(subject);
  if (!subject.is_indexed())
    raise("TypeError: '{}' object is not subscriptable by a slice", type_name(subject));
  const SliceBounds bounds = slice_bounds(length_of(subject), start, stop, step);
  if (subject.is_string()) return slice_text(subject, bounds);
  std::vector<Value> items;
  for_each_place(bounds, [&](size_t i) { items.push_back(subject.items()[i]); });
  return Value::sequence(subject.kind(), std::move(items), subject.as<ListObject>()->type);
}

int64_t to_int64(const Value& value, std::string_view what) {
  if (value.is_undefined()) raise_undefined(value);
  if (!value.is_integral())
    raise("TypeError: {}: '{}' object cannot be interpreted as an integer", what, type_name(value));
  const Int number = value.integer();
  if (number > INT64_MAX / 4 || number < INT64_MIN / 4)
    raise("OverflowError: {}: the number is too large", what);
  return static_cast<int64_t>(number);
}

}  // namespace dure::jinja
