#include "text/jinja/parser.h"

#include <set>

#include "text/jinja/filters.h"
#include "text/jinja/lexer.h"

namespace dure::jinja {
namespace {

constexpr int kExprDepthMax = 400;  // Of an expression's tree.
constexpr int kNestedMax = 300;     // Brackets in brackets, blocks in blocks.

using Names = std::vector<std::string_view>;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  Block run() {
    Block block = parse_until({});
    if (!unknown_.empty()) throw unknown_.front();
    return block;
  }

 private:
  // --- tokens ---

  const LexedToken& current() const { return tokens_[at_]; }
  const LexedToken& look(size_t ahead = 1) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  int line() const { return current().line; }
  bool is(Token token) const { return current().token == token; }
  bool is_operator(std::string_view text) const {
    return is(Token::kOperator) && current().text == text;
  }
  bool is_name(std::string_view text) const { return is(Token::kName) && current().text == text; }
  const LexedToken& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool skip_operator(std::string_view text) { return is_operator(text) && (take(), true); }
  bool skip_name(std::string_view text) { return is_name(text) && (take(), true); }

  [[noreturn]] void fail_at(int line, std::string message) const {
    throw TemplateError(std::move(message), ErrorCode::kInvalidArgument, line);
  }
  [[noreturn]] void fail_expected(std::string_view wanted) const {
    if (is(Token::kEnd))
      fail_at(line(), fmt::format("unexpected end of template, expected '{}'", wanted));
    fail_at(line(), fmt::format("expected token '{}', got '{}'", wanted, describe(current())));
  }
  void expect_operator(std::string_view text) {
    if (!skip_operator(text)) fail_expected(text);
  }
  void expect(Token token) {
    if (!is(token)) fail_expected(describe({token, 0, "name", Value()}));
    take();
  }
  std::string expect_name() {
    if (!is(Token::kName)) fail_expected("name");
    return take().text;
  }

  // Bounds recursion.
  class Nested {
   public:
    explicit Nested(Parser& parser) : parser_(parser) {
      if (++parser_.nested_ > kNestedMax)
        parser_.fail_at(parser_.line(), fmt::format("nested deeper than {}", kNestedMax));
    }
    ~Nested() { --parser_.nested_; }

   private:
    Parser& parser_;
  };

  template <typename T, typename... Args>
  ExprPtr make(Args&&... args) {
    auto node = std::make_unique<T>(std::forward<Args>(args)...);
    if (node->depth > kExprDepthMax)
      fail_at(node->line,
              fmt::format("an expression of more than {} steps in a row", kExprDepthMax));
    return node;
  }

  // --- statements ---

  // Up to a block that begins with one of `ends` (which stays), or, without any, the end of the
  // template.
  Block parse_until(const Names& ends) {
    Nested nested(*this);
    Block block;
    for (;;) {
      if (is(Token::kEnd)) {
        if (!ends.empty()) fail_unclosed(ends);
        return block;
      }
      const int line = this->line();
      if (is(Token::kData)) {
        block.push_back(std::make_unique<DataStatement>(line, take().text));
      } else if (is(Token::kVariableBegin)) {
        take();
        ExprPtr value = parse_tuple(TupleOptions());
        expect(Token::kVariableEnd);
        block.push_back(std::make_unique<PrintStatement>(line, std::move(value)));
      } else {
        expect(Token::kBlockBegin);
        for (const std::string_view end : ends) {
          if (is_name(end)) return block;
        }
        parse_statement(block);
        expect(Token::kBlockEnd);
      }
    }
  }

  [[noreturn]] void fail_unclosed(const Names& ends) const {
    std::string wanted;
    for (const std::string_view end : ends)
      wanted += fmt::format("{}'{}'", wanted.empty() ? "" : " or ", end);
    fail_at(line(), fmt::format("Unexpected end of template. Jinja was looking for the following "
                                "tags: {}. The innermost block "
                                "that needs to be closed is '{}' (line {}).",
                                wanted, tags_.back().first, tags_.back().second));
  }

  // After the opening tag of a block: its end, then its body.
  Block parse_body(const Names& ends) {
    skip_operator(":");
    expect(Token::kBlockEnd);
    return parse_until(ends);
  }
  Block parse_whole_body(std::string_view end) {
    Block body = parse_body({end});
    take();
    return body;
  }

  void parse_statement(Block& block) {
    if (!is(Token::kName)) fail_at(line(), "tag name expected");
    const std::string tag = current().text;
    const int line = this->line();
    tags_.emplace_back(tag, line);
    if (tag == "if")
      block.push_back(parse_if());
    else if (tag == "for")
      block.push_back(parse_for());
    else if (tag == "set")
      block.push_back(parse_set());
    else if (tag == "macro")
      block.push_back(parse_macro());
    else if (tag == "call")
      block.push_back(parse_call_block());
    else if (tag == "filter")
      block.push_back(parse_filter_block());
    else if (tag == "with")
      block.push_back(parse_with());
    else if (tag == "print")
      parse_print(block);
    else if (tag == "break" || tag == "continue")
      block.push_back(parse_jump(tag));
    else if (tag == "generation")
      block.push_back(parse_scoped("endgeneration"));
    else if (tag == "autoescape")
      block.push_back(parse_autoescape());
    else
      fail_unknown_tag(tag);
    tags_.pop_back();
  }

  [[noreturn]] void fail_unknown_tag(const std::string& tag) const {
    static const std::set<std::string> kOther = {"block", "extends", "include", "import",
                                                 "from",  "do",      "trans",   "debug"};
    if (kOther.contains(tag)) {
      throw TemplateError(fmt::format("the tag '{}' is not supported: a chat template is one file, "
                                      "without inheritance or extensions",
                                      tag),
                          ErrorCode::kUnsupported, line());
    }
    fail_at(line(), fmt::format("Encountered unknown tag '{}'.", tag));
  }

  std::unique_ptr<Statement> parse_if() {
    auto node = std::make_unique<IfStatement>(take().line);
    SoftFrame soft(*this, true);
    for (;;) {
      ExprPtr condition = parse_tuple({.conditional = false});
      Block body = parse_body({"elif", "else", "endif"});
      node->branches.emplace_back(std::move(condition), std::move(body));
      if (skip_name("elif")) continue;
      if (skip_name("else")) node->otherwise = parse_body({"endif"});
      take();
      return node;
    }
  }

  std::unique_ptr<Statement> parse_for() {
    auto node = std::make_unique<ForStatement>(take().line);
    node->target = parse_target({.end_name = "in"});
    if (!skip_name("in")) fail_expected("in");
    node->iterable = parse_tuple({.conditional = false, .end_name = "recursive"});
    SoftFrame hard(*this, false);
    if (skip_name("if")) node->condition = parse_expression();
    node->recursive = skip_name("recursive");
    ++loops_;
    node->body = parse_body({"endfor", "else"});
    --loops_;
    if (skip_name("else")) node->otherwise = parse_body({"endfor"});
    take();
    return node;
  }

  std::unique_ptr<Statement> parse_jump(const std::string& tag) {
    const int line = take().line;
    if (loops_ == 0) fail_at(line, fmt::format("'{}' outside loop", tag));
    return std::make_unique<JumpStatement>(line, tag == "break" ? Flow::kBreak : Flow::kContinue);
  }

  std::unique_ptr<Statement> parse_set() {
    const int line = take().line;
    Target target = parse_target({.namespaces = true});
    if (skip_operator("=")) {
      auto node = std::make_unique<SetStatement>(line);
      node->target = std::move(target);
      node->value = parse_tuple(TupleOptions());
      return node;
    }
    auto node = std::make_unique<SetBlockStatement>(line);
    node->target = std::move(target);
    SoftFrame hard(*this, false);
    if (is_operator("|")) node->filter = parse_filters(nullptr);
    node->body = parse_whole_body("endset");
    return node;
  }

  std::unique_ptr<Statement> parse_macro() {
    auto node = std::make_unique<MacroStatement>(take().line);
    const int line = this->line();
    const std::string name = expect_name();
    if (is_constant_name(name)) fail_at(line, "can't assign to 'const'");
    parse_macro_body(node->macro, "endmacro", [&] { parse_signature(node->macro); });
    node->macro.name = name;
    return node;
  }

  // The signature and the body, noting which special names they read.
  template <typename Between>
  void parse_macro_body(MacroSignature& macro, std::string_view end, Between between) {
    SoftFrame hard(*this, false);
    const int outer_loops = std::exchange(loops_, 0);
    macros_.push_back(&macro);
    between();
    macro.body = parse_whole_body(end);
    macros_.pop_back();
    loops_ = outer_loops;
    for (const std::string& parameter : macro.parameters) {
      if (parameter == "caller") macro.uses_caller = false;
      if (parameter == "kwargs") macro.uses_kwargs = false;
      if (parameter == "varargs") macro.uses_varargs = false;
    }
  }

  void parse_signature(MacroSignature& macro) {
    expect_operator("(");
    while (!is_operator(")")) {
      if (!macro.parameters.empty()) expect_operator(",");
      const int line = this->line();
      const std::string name = expect_name();
      if (is_constant_name(name)) fail_at(line, "can't assign to 'const'");
      if (skip_operator("="))
        macro.defaults.push_back(parse_expression());
      else if (!macro.defaults.empty())
        fail_at(line, "non-default argument follows default argument");
      macro.parameters.push_back(name);
    }
    expect_operator(")");
  }

  std::unique_ptr<Statement> parse_call_block() {
    auto node = std::make_unique<CallStatement>(take().line);
    const int line = this->line();
    if (is_operator("(")) parse_signature(node->caller);
    node->call = parse_expression();
    if (dynamic_cast<CallExpr*>(node->call.get()) == nullptr) fail_at(line, "expected call");
    parse_macro_body(node->caller, "endcall", [] {});
    return node;
  }

  std::unique_ptr<Statement> parse_filter_block() {
    auto node = std::make_unique<FilterStatement>(take().line);
    SoftFrame hard(*this, false);
    node->filter = parse_filter_chain(parse_one_filter(nullptr));
    node->body = parse_whole_body("endfilter");
    return node;
  }

  std::unique_ptr<Statement> parse_with() {
    auto node = std::make_unique<WithStatement>(take().line);
    SoftFrame hard(*this, false);
    while (!is(Token::kBlockEnd) && !is_operator(":")) {
      if (!node->values.empty()) expect_operator(",");
      Target target = parse_target({});
      expect_operator("=");
      node->values.emplace_back(std::move(target), parse_expression());
    }
    node->body = parse_whole_body("endwith");
    return node;
  }

  std::unique_ptr<Statement> parse_scoped(std::string_view end) {
    auto node = std::make_unique<WithStatement>(take().line);
    SoftFrame hard(*this, false);
    node->body = parse_whole_body(end);
    return node;
  }

  std::unique_ptr<Statement> parse_autoescape() {
    const int line = this->line();
    if (!look().text.empty() && (look().text == "false" || look().text == "False")) {
      take();
      return parse_scoped("endautoescape");
    }
    throw TemplateError("escaping of what is printed (autoescape true) is not supported",
                        ErrorCode::kUnsupported, line);
  }

  void parse_print(Block& block) {
    const int line = take().line;
    for (bool first = true; !is(Token::kBlockEnd); first = false) {
      if (!first) expect_operator(",");
      block.push_back(std::make_unique<PrintStatement>(line, parse_expression()));
    }
  }

  // --- targets ---

  struct TargetOptions {
    bool namespaces = false;
    std::string_view end_name = {};
  };

  Target parse_target(TargetOptions options) {
    Target whole{.name = {}, .attribute = {}, .parts = {}, .is_tuple = false, .line = line()};
    while (!ends_tuple(options.end_name)) {
      whole.parts.push_back(parse_one_target(options));
      if (!is_operator(",")) break;
      take();
      whole.is_tuple = true;
    }
    if (whole.is_tuple) return whole;
    if (whole.parts.empty())
      fail_at(line(), fmt::format("Expected an expression, got '{}'", describe(current())));
    return std::move(whole.parts[0]);
  }

  Target parse_one_target(TargetOptions options) {
    Nested nested(*this);
    if (skip_operator("(")) {
      Target inner = parse_target({});
      expect_operator(")");
      return inner;
    }
    if (!is(Token::kName))
      fail_at(line(), fmt::format("can't assign to '{}'", describe(current())));
    Target target{
        .name = current().text, .attribute = {}, .parts = {}, .is_tuple = false, .line = line()};
    take();
    if (options.namespaces && skip_operator("."))
      target.attribute = expect_name();
    else if (is_constant_name(target.name))
      fail_at(target.line, "can't assign to 'const'");
    else if (target.name == "loop" && options.end_name == "in")
      fail_at(target.line, "Can't assign to special loop variable in for-loop target");
    return target;
  }

  static bool is_constant_name(const std::string& name) {
    return name == "true" || name == "false" || name == "none" || name == "True" ||
           name == "False" || name == "None";
  }

  // --- expressions ---

  struct TupleOptions {
    bool conditional = true;  // Whether `a if b else c` may stand here without brackets.
    bool may_be_empty = false;
    std::string_view end_name = {};
  };

  bool ends_tuple(std::string_view end_name) const {
    return is(Token::kVariableEnd) || is(Token::kBlockEnd) || is_operator(")") ||
           (!end_name.empty() && is_name(end_name));
  }

  ExprPtr parse_tuple(TupleOptions options) {
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

  ExprPtr parse_expression() {
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

  ExprPtr parse_or() {
    const int line = this->line();
    ExprPtr left = parse_and();
    while (skip_name("or")) left = make<LogicExpr>(line, false, std::move(left), parse_and());
    return left;
  }

  ExprPtr parse_and() {
    const int line = this->line();
    ExprPtr left = parse_not();
    while (skip_name("and")) left = make<LogicExpr>(line, true, std::move(left), parse_not());
    return left;
  }

  ExprPtr parse_not() {
    int count = 0;
    const int line = this->line();
    while (skip_name("not")) ++count;
    ExprPtr value = parse_compare();
    for (; count > 0; --count)
      value = make<UnaryExpr>(line, UnaryExpr::Operator::kNot, std::move(value));
    return value;
  }

  std::optional<Comparison> take_comparison() {
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

  ExprPtr parse_compare() {
    const int line = this->line();
    ExprPtr first = parse_sum();
    std::vector<std::pair<Comparison, ExprPtr>> rest;
    while (const std::optional<Comparison> comparison = take_comparison())
      rest.emplace_back(*comparison, parse_sum());
    if (rest.empty()) return first;
    return make<CompareExpr>(line, std::move(first), std::move(rest));
  }

  ExprPtr parse_sum() {
    const int line = this->line();
    ExprPtr left = parse_concat();
    while (is_operator("+") || is_operator("-")) {
      const BinaryOperator op =
          take().text == "+" ? BinaryOperator::kAdd : BinaryOperator::kSubtract;
      left = make<BinaryExpr>(line, op, std::move(left), parse_concat());
    }
    return left;
  }

  ExprPtr parse_concat() {
    const int line = this->line();
    std::vector<ExprPtr> parts;
    parts.push_back(parse_product());
    while (skip_operator("~")) parts.push_back(parse_product());
    if (parts.size() == 1) return std::move(parts[0]);
    return make<ConcatExpr>(line, std::move(parts));
  }

  ExprPtr parse_product() {
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

  ExprPtr parse_power() {  // From the left, unlike Python: as Jinja does.
    const int line = this->line();
    ExprPtr left = parse_unary(true);
    while (skip_operator("**"))
      left = make<BinaryExpr>(line, BinaryOperator::kPower, std::move(left), parse_unary(true));
    return left;
  }

  ExprPtr parse_unary(bool with_filters) {
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

  ExprPtr parse_primary() {
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

  ExprPtr parse_name() {
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

  ExprPtr parse_list() {
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

  ExprPtr parse_dict() {
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

  ExprPtr parse_postfix(ExprPtr value) {
    for (;;) {
      if (is_operator(".") || is_operator("["))
        value = parse_subscript(std::move(value));
      else if (is_operator("("))
        value = parse_call(std::move(value));
      else
        return value;
    }
  }

  ExprPtr parse_filters_and_tests(ExprPtr value) {
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

  ExprPtr parse_subscript(ExprPtr subject) {
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

  ExprPtr parse_slice(int line, ExprPtr subject, ExprPtr start) {
    expect_operator(":");
    ExprPtr stop = is_operator(":") || is_operator("]") ? nullptr : parse_expression();
    ExprPtr step = skip_operator(":") && !is_operator("]") ? parse_expression() : nullptr;
    expect_operator("]");
    return make<SliceExpr>(line, std::move(subject), std::move(start), std::move(stop),
                           std::move(step));
  }

  ExprPtr parse_call(ExprPtr callee) {
    const int line = this->line();
    return make<CallExpr>(line, std::move(callee), parse_arguments());
  }

  CallArguments parse_arguments() {
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

  std::string parse_dotted_name() {
    std::string name = expect_name();
    while (skip_operator(".")) name += "." + expect_name();
    return name;
  }

  ExprPtr parse_filters(ExprPtr subject) {
    take();  // "|"
    return parse_filter_chain(parse_one_filter(std::move(subject)));
  }

  ExprPtr parse_filter_chain(ExprPtr value) {
    while (skip_operator("|")) value = parse_one_filter(std::move(value));
    return value;
  }

  ExprPtr parse_one_filter(ExprPtr subject) {
    const int line = this->line();
    const std::string name = parse_dotted_name();
    const FilterFunction function = find_filter(name);
    if (function == nullptr) note_unknown("filter", name, line);
    CallArguments arguments = is_operator("(") ? parse_arguments() : CallArguments();
    return make<FilterExpr>(line, std::move(subject), name, function, std::move(arguments));
  }

  ExprPtr parse_test(ExprPtr subject) {
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

  bool begins_test_argument() const {
    if (is(Token::kName)) return !is_name("else") && !is_name("or") && !is_name("and");
    return is(Token::kString) || is(Token::kInteger) || is(Token::kFloat) || is_operator("[") ||
           is_operator("{");
  }

  // In a branch, unknown filters and tests are errors only when they are reached: templates guard
  // new ones so.
  void note_unknown(std::string_view what, const std::string& name, int line) {
    if (!soft_)
      unknown_.emplace_back(fmt::format("No {} named '{}'.", what, name), ErrorCode::kUnsupported,
                            line);
  }

  class SoftFrame {
   public:
    SoftFrame(Parser& parser, bool soft)
        : parser_(parser), before_(std::exchange(parser.soft_, soft)) {}
    ~SoftFrame() { parser_.soft_ = before_; }

   private:
    Parser& parser_;
    bool before_;
  };

  std::vector<LexedToken> tokens_;
  size_t at_ = 0;
  int nested_ = 0, loops_ = 0;
  bool soft_ = false;
  std::vector<TemplateError> unknown_;  // Filters and tests that do not exist, outside branches.
  std::vector<std::pair<std::string, int>> tags_;  // Open blocks and their lines.
  std::vector<MacroSignature*> macros_;
};

}  // namespace

Block parse_template(std::string_view source) { return Parser(source).run(); }

}  // namespace dure::jinja
