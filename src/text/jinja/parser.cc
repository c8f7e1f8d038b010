// Statements: tags, blocks and their ends. Expressions: expression_parser.h.
#include "text/jinja/parser.h"

#include <set>

#include "text/jinja/expression_parser.h"

namespace dure::jinja {
namespace {

using Names = std::vector<std::string_view>;

class Parser : private ExpressionParser {
 public:
  explicit Parser(std::string_view source) : ExpressionParser(source) {}

  Block run() {
    Block block = parse_until({});
    if (!unknown_.empty()) throw unknown_.front();
    return block;
  }

 private:
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

  int loops_ = 0;
  std::vector<std::pair<std::string, int>> tags_;  // Open blocks and their lines.
};

}  // namespace

Block parse_template(std::string_view source) { return Parser(source).run(); }

}  // namespace dure::jinja
