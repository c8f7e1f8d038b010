// Expressions, from the loosest operator to the tightest; each rule makes the closure that it
// means.
#include "jinja/expression_parser.h"

#include "jinja/builtin.h"
#include "jinja/operators.h"

namespace dure::jinja {
namespace {

struct Comparison {
  std::string_view sign;
  bool (*holds)(const Value& a, const Value& b);
};
constexpr Comparison kComparisons[] = {
    {"==", equal},
    {"!=", [](const Value& a, const Value& b) { return !equal(a, b); }},
    {"<", [](const Value& a, const Value& b) { return compare(a, b, "<") < 0; }},
    {"<=", [](const Value& a, const Value& b) { return compare(a, b, "<=") <= 0; }},
    {">", [](const Value& a, const Value& b) { return compare(a, b, ">") > 0; }},
    {">=", [](const Value& a, const Value& b) { return compare(a, b, ">=") >= 0; }},
    {"in", [](const Value& a, const Value& b) { return contains(b, a); }},
    {"not in", [](const Value& a, const Value& b) { return !contains(b, a); }},
};

struct ArithmeticSign {
  int level;  // The higher, the tighter it binds.
  std::string_view sign;
  BinaryOperator op;
};
constexpr int kTightest = 3;
constexpr ArithmeticSign kArithmetic[] = {
    {0, "+", BinaryOperator::kAdd},         {0, "-", BinaryOperator::kSubtract},
    {1, "~", BinaryOperator::kConcatenate}, {2, "*", BinaryOperator::kMultiply},
    {2, "/", BinaryOperator::kDivide},      {2, "//", BinaryOperator::kFloorDivide},
    {2, "%", BinaryOperator::kModulo},      {3, "**", BinaryOperator::kPower},
};

Value eval_or_none(Context& context, const ExprPtr& expr) {
  return expr != nullptr ? context.eval(*expr) : Value::none();
}

// All of the arguments, and `subject` before them.
std::vector<ExprPtr> parts_of(const ExprPtr& subject, const CallArguments& arguments) {
  std::vector<ExprPtr> parts = arguments.positional;
  for (const auto& [name, argument] : arguments.named) parts.push_back(argument);
  parts.push_back(subject);
  return parts;
}

std::vector<Value> eval_all(Context& context, const std::vector<ExprPtr>& items) {
  std::vector<Value> values;
  values.reserve(items.size());
  for (const ExprPtr& item : items) values.push_back(context.eval(*item));
  return values;
}

}  // namespace

Arguments eval_arguments(Context& context, const CallArguments& arguments) {
  Arguments out{eval_all(context, arguments.positional), {}};
  for (const auto& [name, argument] : arguments.named)
    out.named.emplace_back(name, context.eval(*argument));
  return out;
}

ExprPtr ExpressionParser::make(int line, const std::vector<ExprPtr>& parts,
                               std::function<Value(Context&)> eval) const {
  int depth = 1;
  for (const ExprPtr& part : parts) {
    if (part != nullptr) depth = std::max(depth, part->depth + 1);
  }
  if (depth > kExprDepthMax)
    fail_at(line, fmt::format("an expression of more than {} steps in a row", kExprDepthMax));
  return std::make_shared<Expr>(Expr{line, depth, std::move(eval)});
}

bool ExpressionParser::ends_tuple(std::string_view end_name) const {
  return is(Token::kVariableEnd) || is(Token::kBlockEnd) || is_operator(")") ||
         (!end_name.empty() && is_name(end_name));
}

ExprPtr ExpressionParser::parse_tuple(TupleOptions options) {
  const int line = this->line();
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (!ends_tuple(options.end_name)) {
    items.push_back(options.conditional ? parse_expression() : parse_or());
    if (!skip_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && items.size() == 1) return items[0];
  if (items.empty() && !is_tuple && !options.may_be_empty)
    fail_at(this->line(), fmt::format("Expected an expression, got '{}'", describe(current())));
  return make(line, items,
              [items](Context& context) { return Value::tuple(eval_all(context, items)); });
}

ExprPtr ExpressionParser::parse_expression() {
  const auto deeper = nested();
  const int line = this->line();
  const size_t unknown_before = unknown_.size();
  ExprPtr value = parse_or();
  while (skip_name("if")) {
    const ExprPtr condition = parse_or();
    const ExprPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
    value = make(
        line, {value, condition, otherwise}, [line, value, condition, otherwise](Context& context) {
          if (truth(context.eval(*condition))) return context.eval(*value);
          if (otherwise != nullptr) return context.eval(*otherwise);
          return Value::undefined(
              fmt::format("the inline if-expression on line {} evaluated to false and no else "
                          "section was defined.",
                          line));
        });
    unknown_.erase(unknown_.begin() + static_cast<int64_t>(unknown_before), unknown_.end());
  }
  return value;
}

// The value of the side that decides.
ExprPtr ExpressionParser::parse_logic(std::string_view word, ExprPtr (ExpressionParser::*parse)()) {
  const int line = this->line();
  ExprPtr left = (this->*parse)();
  while (skip_name(word)) {
    const ExprPtr right = (this->*parse)();
    left = make(line, {left, right}, [left, right, is_and = word == "and"](Context& context) {
      Value value = context.eval(*left);
      return truth(value) == is_and ? context.eval(*right) : value;
    });
  }
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  const int line = this->line();
  if (!skip_name("not")) return parse_compare();
  const auto deeper = nested();
  const ExprPtr value = parse_not();
  return make(line, {value},
              [value](Context& context) { return Value(!truth(context.eval(*value))); });
}

// a < b <= c: each pair, all of them.
ExprPtr ExpressionParser::parse_compare() {
  const int line = this->line();
  const auto take_comparison = [&]() -> const Comparison* {
    const bool negated = is_name("not") && look().token == Token::kName && look().text == "in";
    if (negated) take();
    const std::string sign = negated ? "not in" : current().text;
    if (!negated && !is(Token::kOperator) && !is_name("in")) return nullptr;
    for (const Comparison& comparison : kComparisons) {
      if (comparison.sign != sign) continue;
      take();
      return &comparison;
    }
    return nullptr;
  };
  const ExprPtr first = parse_arithmetic(0);
  std::vector<ExprPtr> parts = {first};
  std::vector<std::pair<const Comparison*, ExprPtr>> rest;
  while (const Comparison* comparison = take_comparison()) {
    parts.push_back(parse_arithmetic(0));
    rest.emplace_back(comparison, parts.back());
  }
  if (rest.empty()) return first;
  return make(line, parts, [first, rest](Context& context) {
    Value a = context.eval(*first);
    for (const auto& [comparison, operand] : rest) {
      Value b = context.eval(*operand);
      if (!comparison->holds(a, b)) return Value(false);
      a = std::move(b);
    }
    return Value(true);
  });
}

// All of them from the left, the power too: as Jinja does, unlike Python.
ExprPtr ExpressionParser::parse_arithmetic(int level) {
  if (level > kTightest) return parse_unary(true);
  const int line = this->line();
  ExprPtr left = parse_arithmetic(level + 1);
  const auto take_sign = [&]() -> const ArithmeticSign* {
    for (const ArithmeticSign& one : kArithmetic) {
      if (one.level == level && skip_operator(one.sign)) return &one;
    }
    return nullptr;
  };
  while (const ArithmeticSign* sign = take_sign()) {
    const ExprPtr right = parse_arithmetic(level + 1);
    left = make(line, {left, right}, [op = sign->op, left, right](Context& context) {
      const Value a = context.eval(*left);
      return binary(op, a, context.eval(*right));
    });
  }
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filters) {
  const auto deeper = nested();
  const int line = this->line();
  ExprPtr value;
  if (skip_operator("-")) {
    const ExprPtr operand = parse_unary(false);
    value = make(line, {operand},
                 [operand](Context& context) { return negative(context.eval(*operand)); });
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters_and_tests(std::move(value)) : value;
}

ExprPtr ExpressionParser::parse_primary() {
  const int line = this->line();
  if (is(Token::kName)) return parse_name();
  if (is(Token::kString)) {
    std::string text;
    while (is(Token::kString)) text += take().text;
    return make_constant(line, Value(std::move(text)));
  }
  if (is(Token::kInteger) || is(Token::kFloat)) return make_constant(line, take().number);
  if (skip_operator("(")) {
    ExprPtr inner = parse_tuple({.may_be_empty = true});
    expect_operator(")");
    return inner;
  }
  if (is_operator("[")) return parse_list();
  if (is_operator("{")) return parse_dict();
  fail_at(line, fmt::format("unexpected '{}'", describe(current())));
}

ExprPtr ExpressionParser::parse_name() {
  const int line = this->line();
  const std::string name = take().text;
  if (name == "true" || name == "True") return make_constant(line, Value(true));
  if (name == "false" || name == "False") return make_constant(line, Value(false));
  if (name == "none" || name == "None") return make_constant(line, Value::none());
  for (Macro* macro : macros_) {
    const auto& own = macro->parameters;
    if (std::find(own.begin(), own.end(), name) != own.end()) continue;
    macro->uses_caller |= name == "caller";
    if (name == "kwargs" || name == "varargs") fail_unsupported(line, name + " of a macro");
  }
  return make(line, {}, [name](Context& context) {
    const Value* found = context.scope().find(name);
    return found != nullptr ? *found : Value::undefined(fmt::format("'{}' is undefined", name));
  });
}

ExprPtr ExpressionParser::parse_list() {
  const int line = this->line();
  std::vector<ExprPtr> items;
  parse_items("[", "]", [&] { items.push_back(parse_expression()); });
  return make(line, items,
              [items](Context& context) { return Value::list(eval_all(context, items)); });
}

ExprPtr ExpressionParser::parse_dict() {
  const int line = this->line();
  std::vector<ExprPtr> items;  // Key, value, key, value ...
  parse_items("{", "}", [&] {
    items.push_back(parse_expression());
    expect_operator(":");
    items.push_back(parse_expression());
  });
  return make(line, items, [items](Context& context) {
    const std::vector<Value> values = eval_all(context, items);
    std::vector<std::pair<Value, Value>> pairs;
    for (size_t i = 0; i < values.size(); i += 2) pairs.emplace_back(values[i], values[i + 1]);
    return Value::dict(std::move(pairs));
  });
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr value) {
  for (;;) {
    if (is_operator("."))
      value = parse_attribute(std::move(value));
    else if (is_operator("["))
      value = parse_subscript(std::move(value));
    else if (is_operator("("))
      value = parse_call(std::move(value));
    else
      return value;
  }
}

ExprPtr ExpressionParser::parse_filters_and_tests(ExprPtr value) {
  for (;;) {
    if (skip_operator("|"))
      value = parse_filter(std::move(value));
    else if (is_name("is"))
      value = parse_test(std::move(value));
    else if (is_operator("("))
      value = parse_call(std::move(value));
    else
      return value;
  }
}

ExprPtr ExpressionParser::parse_attribute(ExprPtr subject) {
  const int line = take().line;
  const std::string name = expect_name();
  return make(line, {subject}, [subject, name](Context& context) {
    return get_attribute(context.eval(*subject), name);
  });
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr subject) {
  const int line = take().line;
  const ExprPtr index = is_operator(":") ? nullptr : parse_expression();
  if (is_operator(":")) return parse_slice(line, std::move(subject), index);
  expect_operator("]");
  return make(line, {subject, index}, [subject, index](Context& context) {
    const Value value = context.eval(*subject);
    return get_item(value, context.eval(*index));
  });
}

// a[start:stop:step]; each may be left out.
ExprPtr ExpressionParser::parse_slice(int line, ExprPtr subject, ExprPtr start) {
  expect_operator(":");
  const ExprPtr stop = is_operator(":") || is_operator("]") ? nullptr : parse_expression();
  const ExprPtr step = skip_operator(":") && !is_operator("]") ? parse_expression() : nullptr;
  expect_operator("]");
  return make(line, {subject, start, stop, step}, [subject, start, stop, step](Context& context) {
    const Value value = context.eval(*subject);
    const Value from = eval_or_none(context, start), to = eval_or_none(context, stop);
    return get_slice(value, from, to, eval_or_none(context, step));
  });
}

ExprPtr ExpressionParser::parse_call(ExprPtr callee) {
  const int line = this->line();
  const CallArguments arguments = parse_arguments();
  return make(line, parts_of(callee, arguments), [callee, arguments](Context& context) {
    const Value function = context.eval(*callee);
    Arguments values = eval_arguments(context, arguments);
    return call_value(context, function, values);
  });
}

CallArguments ExpressionParser::parse_arguments() {
  CallArguments out;
  parse_items("(", ")", [&] {
    const int line = this->line();
    if (is_operator("*") || is_operator("**"))
      fail_unsupported(line, "'" + current().text + "' before an argument");
    if (is(Token::kName) && look().token == Token::kOperator && look().text == "=") {
      std::string name = take().text;
      take();
      out.named.emplace_back(std::move(name), parse_expression());
    } else {
      if (!out.named.empty()) fail_at(line, "invalid syntax for function call expression");
      out.positional.push_back(parse_expression());
    }
  });
  return out;
}

ExprPtr ExpressionParser::parse_filter(ExprPtr subject) {
  const int line = this->line();
  const std::string name = expect_name();
  const Builtin* builtin = find_filter(name);
  if (builtin == nullptr) note_unknown("filter", name, line);
  const CallArguments arguments = is_operator("(") ? parse_arguments() : CallArguments();
  return make(line, parts_of(subject, arguments),
              [subject, name, builtin, arguments](Context& context) {
                const Value value = context.eval(*subject);
                if (builtin == nullptr) raise_unknown("filter", name);
                Arguments values = eval_arguments(context, arguments);
                return builtin->call(context, value, values);
              });
}

ExprPtr ExpressionParser::parse_test(ExprPtr subject) {
  const int line = take().line;  // "is"
  const bool negated = skip_name("not");
  const std::string name = expect_name();
  const Builtin* builtin = find_test(name);
  if (builtin == nullptr) note_unknown("test", name, line);
  CallArguments arguments;
  if (is_operator("(")) {
    arguments = parse_arguments();
  } else if (begins_test_argument()) {
    if (is_name("is")) fail_at(this->line(), "You cannot chain multiple tests with is");
    arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  return make(line, parts_of(subject, arguments),
              [subject, name, negated, builtin, arguments](Context& context) {
                const Value value = context.eval(*subject);
                if (builtin == nullptr) raise_unknown("test", name);
                Arguments values = eval_arguments(context, arguments);
                return Value(truth(builtin->call(context, value, values)) != negated);
              });
}

bool ExpressionParser::begins_test_argument() const {
  if (is(Token::kName)) return !is_name("else") && !is_name("or") && !is_name("and");
  return is(Token::kString) || is(Token::kInteger) || is(Token::kFloat) || is_operator("[") ||
         is_operator("{");
}

void ExpressionParser::note_unknown(std::string_view what, const std::string& name, int line) {
  if (!soft_)
    unknown_.emplace_back(fmt::format("No {} named '{}'.", what, name), ErrorCode::kUnsupported,
                          line);
}

}  // namespace dure::jinja
