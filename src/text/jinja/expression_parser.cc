#include "text/jinja/expression_parser.h"

#include "text/jinja/filters.h"

namespace dure::jinja {

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
    if (!is_operator(",")) break;
    take();
    is_tuple = true;
  }
  if (!is_tuple && items.size() == 1) return std::move(items[0]);
  if (items.empty() && !is_tuple && !options.may_be_empty)
    fail_at(this->line(), fmt::format("Expected an expression, got '{}'", describe(current())));
  return make<SequenceExpr>(line, Kind::kTuple, std::move(items));
}

ExprPtr ExpressionParser::parse_expression() {
  Nested nested(*this);
  const int line = this->line();
  const size_t unknown_before = unknown_.size();
  ExprPtr value = parse_or();
  while (skip_name("if")) {
    ExprPtr condition = parse_or();
    ExprPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
    value =
        make<ConditionalExpr>(line, std::move(condition), std::move(value), std::move(otherwise));
    unknown_.erase(unknown_.begin() + static_cast<int64_t>(unknown_before), unknown_.end());
  }
  return value;
}

ExprPtr ExpressionParser::parse_or() {
  const int line = this->line();
  ExprPtr left = parse_and();
  while (skip_name("or")) left = make<LogicExpr>(line, false, std::move(left), parse_and());
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  const int line = this->line();
  ExprPtr left = parse_not();
  while (skip_name("and")) left = make<LogicExpr>(line, true, std::move(left), parse_not());
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  int count = 0;
  const int line = this->line();
  while (skip_name("not")) ++count;
  ExprPtr value = parse_compare();
  for (; count > 0; --count)
    value = make<UnaryExpr>(line, UnaryExpr::Operator::kNot, std::move(value));
  return value;
}

std::optional<Comparison> ExpressionParser::take_comparison() {
  static constexpr std::pair<std::string_view, Comparison> kSigns[] = {
      {"==", Comparison::kEqual},  {"!=", Comparison::kUnequal},
      {"<", Comparison::kLess},    {"<=", Comparison::kLessEqual},
      {">", Comparison::kGreater}, {">=", Comparison::kGreaterEqual}};
  for (const auto& [sign, comparison] : kSigns) {
    if (skip_operator(sign)) return comparison;
  }
  if (skip_name("in")) return Comparison::kIn;
  if (is_name("not") && look().token == Token::kName && look().text == "in")
    return take(), take(), Comparison::kNotIn;
  return std::nullopt;
}

ExprPtr ExpressionParser::parse_compare() {
  const int line = this->line();
  ExprPtr first = parse_sum();
  std::vector<std::pair<Comparison, ExprPtr>> rest;
  while (const std::optional<Comparison> comparison = take_comparison())
    rest.emplace_back(*comparison, parse_sum());
  if (rest.empty()) return first;
  return make<CompareExpr>(line, std::move(first), std::move(rest));
}

ExprPtr ExpressionParser::parse_sum() {
  const int line = this->line();
  ExprPtr left = parse_concat();
  while (is_operator("+") || is_operator("-")) {
    const BinaryOperator op = take().text == "+" ? BinaryOperator::kAdd : BinaryOperator::kSubtract;
    left = make<BinaryExpr>(line, op, std::move(left), parse_concat());
  }
  return left;
}

ExprPtr ExpressionParser::parse_concat() {
  const int line = this->line();
  std::vector<ExprPtr> parts;
  parts.push_back(parse_product());
  while (skip_operator("~")) parts.push_back(parse_product());
  if (parts.size() == 1) return std::move(parts[0]);
  return make<ConcatExpr>(line, std::move(parts));
}

ExprPtr ExpressionParser::parse_product() {
  static constexpr std::pair<std::string_view, BinaryOperator> kSigns[] = {
      {"*", BinaryOperator::kMultiply},
      {"/", BinaryOperator::kDivide},
      {"//", BinaryOperator::kFloorDivide},
      {"%", BinaryOperator::kModulo}};
  const int line = this->line();
  ExprPtr left = parse_power();
  for (bool more = true; more;) {
    more = false;
    for (const auto& [sign, op] : kSigns) {
      if (!skip_operator(sign)) continue;
      left = make<BinaryExpr>(line, op, std::move(left), parse_power());
      more = true;
      break;
    }
  }
  return left;
}

ExprPtr ExpressionParser::parse_power() {  // From the left, unlike Python: as Jinja does.
  const int line = this->line();
  ExprPtr left = parse_unary(true);
  while (skip_operator("**"))
    left = make<BinaryExpr>(line, BinaryOperator::kPower, std::move(left), parse_unary(true));
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filters) {
  Nested nested(*this);
  const int line = this->line();
  ExprPtr value;
  if (skip_operator("-"))
    value = make<UnaryExpr>(line, UnaryExpr::Operator::kMinus, parse_unary(false));
  else if (skip_operator("+"))
    value = make<UnaryExpr>(line, UnaryExpr::Operator::kPlus, parse_unary(false));
  else
    value = parse_primary();
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

ExprPtr ExpressionParser::parse_primary() {
  const int line = this->line();
  if (is(Token::kName)) return parse_name();
  if (is(Token::kString)) {
    std::string text;
    while (is(Token::kString)) text += take().text;
    return make<ConstExpr>(line, Value(std::move(text)));
  }
  if (is(Token::kInteger) || is(Token::kFloat)) return make<ConstExpr>(line, take().number);
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
  if (name == "true" || name == "True") return make<ConstExpr>(line, Value(true));
  if (name == "false" || name == "False") return make<ConstExpr>(line, Value(false));
  if (name == "none" || name == "None") return make<ConstExpr>(line, Value::none());
  for (MacroSignature* macro : macros_) {
    macro->uses_caller |= name == "caller";
    macro->uses_kwargs |= name == "kwargs";
    macro->uses_varargs |= name == "varargs";
  }
  return make<NameExpr>(line, name);
}

ExprPtr ExpressionParser::parse_list() {
  const int line = take().line;
  std::vector<ExprPtr> items;
  while (!is_operator("]")) {
    if (!items.empty()) expect_operator(",");
    if (is_operator("]")) break;
    items.push_back(parse_expression());
  }
  expect_operator("]");
  return make<SequenceExpr>(line, Kind::kList, std::move(items));
}

ExprPtr ExpressionParser::parse_dict() {
  const int line = take().line;
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
  while (!is_operator("}")) {
    if (!items.empty()) expect_operator(",");
    if (is_operator("}")) break;
    ExprPtr key = parse_expression();
    expect_operator(":");
    ExprPtr value = parse_expression();
    items.emplace_back(std::move(key), std::move(value));
  }
  expect_operator("}");
  return make<DictExpr>(line, std::move(items));
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr value) {
  for (;;) {
    if (is_operator(".") || is_operator("["))
      value = parse_subscript(std::move(value));
    else if (is_operator("("))
      value = parse_call(std::move(value));
    else
      return value;
  }
}

ExprPtr ExpressionParser::parse_filters_and_tests(ExprPtr value) {
  for (;;) {
    if (is_operator("|"))
      value = parse_filters(std::move(value));
    else if (is_name("is"))
      value = parse_test(std::move(value));
    else if (is_operator("("))
      value = parse_call(std::move(value));
    else
      return value;
  }
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr subject) {
  const int line = this->line();
  if (skip_operator(".")) {
    if (is(Token::kName)) return make<AttributeExpr>(line, std::move(subject), take().text);
    if (!is(Token::kInteger)) fail_at(this->line(), "expected name or number");
    ExprPtr index = make<ConstExpr>(line, take().number);
    return make<ItemExpr>(line, std::move(subject), std::move(index));
  }
  expect_operator("[");
  ExprPtr start = is_operator(":") ? nullptr : parse_expression();
  if (is_operator(":")) return parse_slice(line, std::move(subject), std::move(start));
  if (is_operator(",")) {  // a[1, 2]: a tuple as the key.
    std::vector<ExprPtr> items;
    items.push_back(std::move(start));
    while (skip_operator(",") && !is_operator("]")) items.push_back(parse_expression());
    start = make<SequenceExpr>(line, Kind::kTuple, std::move(items));
  }
  expect_operator("]");
  return make<ItemExpr>(line, std::move(subject), std::move(start));
}

ExprPtr ExpressionParser::parse_slice(int line, ExprPtr subject, ExprPtr start) {
  expect_operator(":");
  ExprPtr stop = is_operator(":") || is_operator("]") ? nullptr : parse_expression();
  ExprPtr step = skip_operator(":") && !is_operator("]") ? parse_expression() : nullptr;
  expect_operator("]");
  return make<SliceExpr>(line, std::move(subject), std::move(start), std::move(stop),
                         std::move(step));
}

ExprPtr ExpressionParser::parse_call(ExprPtr callee) {
  const int line = this->line();
  return make<CallExpr>(line, std::move(callee), parse_arguments());
}

CallArguments ExpressionParser::parse_arguments() {
  const int line = this->line();
  CallArguments out;
  const auto ensure = [&](bool good) {
    if (!good) fail_at(line, "invalid syntax for function call expression");
  };
  expect_operator("(");
  for (bool first = true; !is_operator(")"); first = false) {
    if (!first) expect_operator(",");
    if (is_operator(")")) break;
    if (skip_operator("*")) {
      ensure(out.star == nullptr && out.star_star == nullptr);
      out.star = parse_expression();
    } else if (skip_operator("**")) {
      ensure(out.star_star == nullptr);
      out.star_star = parse_expression();
    } else if (is(Token::kName) && look().token == Token::kOperator && look().text == "=") {
      ensure(out.star_star == nullptr);
      std::string name = take().text;
      take();
      out.named.emplace_back(std::move(name), parse_expression());
    } else {
      ensure(out.star == nullptr && out.star_star == nullptr && out.named.empty());
      out.positional.push_back(parse_expression());
    }
  }
  expect_operator(")");
  return out;
}

std::string ExpressionParser::parse_dotted_name() {
  std::string name = expect_name();
  while (skip_operator(".")) name += "." + expect_name();
  return name;
}

ExprPtr ExpressionParser::parse_filters(ExprPtr subject) {
  take();  // "|"
  return parse_filter_chain(parse_one_filter(std::move(subject)));
}

ExprPtr ExpressionParser::parse_filter_chain(ExprPtr value) {
  while (skip_operator("|")) value = parse_one_filter(std::move(value));
  return value;
}

ExprPtr ExpressionParser::parse_one_filter(ExprPtr subject) {
  const int line = this->line();
  const std::string name = parse_dotted_name();
  const FilterFunction function = find_filter(name);
  if (function == nullptr) note_unknown("filter", name, line);
  CallArguments arguments = is_operator("(") ? parse_arguments() : CallArguments();
  return make<FilterExpr>(line, std::move(subject), name, function, std::move(arguments));
}

ExprPtr ExpressionParser::parse_test(ExprPtr subject) {
  const int line = take().line;  // "is"
  const bool negated = skip_name("not");
  const std::string name = parse_dotted_name();
  const TestFunction function = find_test(name);
  if (function == nullptr) note_unknown("test", name, line);
  CallArguments arguments;
  if (is_operator("(")) {
    arguments = parse_arguments();
  } else if (begins_test_argument()) {
    if (is_name("is")) fail_at(this->line(), "You cannot chain multiple tests with is");
    arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  ExprPtr test = make<TestExpr>(line, std::move(subject), name, function, std::move(arguments));
  return negated ? make<UnaryExpr>(line, UnaryExpr::Operator::kNot, std::move(test))
                 : std::move(test);
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
