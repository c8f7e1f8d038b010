// Evaluation of expressions (ast.h).
#include "text/jinja/ast.h"
#include "text/jinja/context.h"
#include "text/jinja/operators.h"

namespace dure::jinja {
namespace {

bool holds(Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::kEqual:
      return equal(a, b);
    case Comparison::kUnequal:
      return !equal(a, b);
    case Comparison::kLess:
      return compare(a, b, "<") < 0;
    case Comparison::kLessEqual:
      return compare(a, b, "<=") <= 0;
    case Comparison::kGreater:
      return compare(a, b, ">") > 0;
    case Comparison::kGreaterEqual:
      return compare(a, b, ">=") >= 0;
    case Comparison::kIn:
      return contains(b, a);
    case Comparison::kNotIn:
      return !contains(b, a);
  }
  return false;
}

Value eval_or_none(Context& context, const ExprPtr& expr) {
  return expr != nullptr ? context.eval(*expr) : Value::none();
}

}  // namespace

Value NameExpr::eval(Context& context) const {
  const Value* found = context.scope().find(name);
  return found != nullptr ? *found : Value::undefined(fmt::format("'{}' is undefined", name));
}

Value SequenceExpr::eval(Context& context) const {
  std::vector<Value> values;
  values.reserve(items.size());
  for (const ExprPtr& item : items) values.push_back(context.eval(*item));
  return kind == Kind::kList ? Value::list(std::move(values)) : Value::tuple(std::move(values));
}

Value DictExpr::eval(Context& context) const {
  std::vector<std::pair<Value, Value>> values;
  values.reserve(items.size());
  for (const auto& [key, value] : items) {
    Value key_value = context.eval(*key);
    values.emplace_back(std::move(key_value), context.eval(*value));
  }
  return Value::dict(std::move(values));
}

Value UnaryExpr::eval(Context& context) const {
  const Value value = context.eval(*operand);
  if (op == Operator::kNot) return Value(!truth(value));
  return op == Operator::kMinus ? negative(value) : positive(value);
}

Value BinaryExpr::eval(Context& context) const {
  const Value a = context.eval(*left);
  return binary(op, a, context.eval(*right));
}

Value LogicExpr::eval(Context& context) const {
  Value a = context.eval(*left);
  return truth(a) == is_and ? context.eval(*right) : a;
}

Value CompareExpr::eval(Context& context) const {
  Value a = context.eval(*first);
  for (const auto& [comparison, operand] : rest) {
    Value b = context.eval(*operand);
    if (!holds(comparison, a, b)) return Value(false);
    a = std::move(b);
  }
  return Value(true);
}

Value ConcatExpr::eval(Context& context) const {
  std::string out;
  for (const ExprPtr& part : parts) {
    out += str(context.eval(*part));
    check_size(static_cast<int64_t>(out.size()));
  }
  return Value(std::move(out));
}

Value ConditionalExpr::eval(Context& context) const {
  if (truth(context.eval(*condition))) return context.eval(*value);
  if (otherwise != nullptr) return context.eval(*otherwise);
  return Value::undefined(fmt::format(
      "the inline if-expression on line {} evaluated to false and no else section was defined.",
      line));
}

Value AttributeExpr::eval(Context& context) const {
  return get_attribute(context.eval(*subject), name);
}

Value ItemExpr::eval(Context& context) const {
  const Value value = context.eval(*subject);
  return get_item(value, context.eval(*index));
}

Value SliceExpr::eval(Context& context) const {
  const Value value = context.eval(*subject);
  const Value from = eval_or_none(context, start), to = eval_or_none(context, stop);
  return get_slice(value, from, to, eval_or_none(context, step));
}

int CallArguments::depth() const {
  int depth = 0;
  const auto deepen = [&](const ExprPtr& expr) {
    if (expr != nullptr) depth = std::max(depth, expr->depth);
  };
  for (const ExprPtr& argument : positional) deepen(argument);
  for (const auto& [name, argument] : named) deepen(argument);
  deepen(star), deepen(star_star);
  return depth;
}

Arguments CallArguments::eval(Context& context) const {
  Arguments out;
  for (const ExprPtr& argument : positional) out.positional.push_back(context.eval(*argument));
  for (const auto& [name, argument] : named) out.named.emplace_back(name, context.eval(*argument));
  if (star != nullptr) {
    for (Value& item : to_vector(context.eval(*star))) out.positional.push_back(std::move(item));
  }
  if (star_star != nullptr) {
    const Value more = context.eval(*star_star);
    if (!more.is_dict())
      raise("TypeError: argument after ** must be a mapping, not {}", type_name(more));
    for (const auto& [key, value] : more.dict().items) {
      if (!key.is_string()) raise("TypeError: keywords must be strings");
      out.named.emplace_back(key.text(), value);
    }
  }
  return out;
}

Value CallExpr::call(Context& context, const Value* caller) const {
  const Value function = context.eval(*callee);
  Arguments values = arguments.eval(context);
  if (caller != nullptr) values.named.emplace_back("caller", *caller);
  return call_value(context, function, values);
}

Value FilterExpr::apply(Context& context, const Value* block_text) const {
  Value value;
  if (subject == nullptr)
    value = *block_text;
  else if (const auto* inner =
               block_text != nullptr ? dynamic_cast<const FilterExpr*>(subject.get()) : nullptr)
    value = inner->apply(context, block_text);
  else
    value = context.eval(*subject);
  if (function == nullptr)
    throw TemplateError(fmt::format("No filter named '{}' found.", name), ErrorCode::kUnsupported);
  Arguments values = arguments.eval(context);
  return function(context, value, values);
}

Value TestExpr::eval(Context& context) const {
  const Value value = context.eval(*subject);
  if (function == nullptr)
    throw TemplateError(fmt::format("No test named '{}' found.", name), ErrorCode::kUnsupported);
  Arguments values = arguments.eval(context);
  return Value(function(context, value, values));
}

Value call_value(Context& context, const Value& callee, Arguments& arguments) {
  if (callee.is_undefined()) raise_undefined(callee);
  auto* function = callee.as<CallableObject>();
  if (function == nullptr) raise("TypeError: '{}' object is not callable", type_name(callee));
  return function->call(context, arguments);
}

}  // namespace dure::jinja
