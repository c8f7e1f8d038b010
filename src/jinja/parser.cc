// Statements: tags, blocks and their ends, and what each does. Expressions: expression_parser.h.
#include <set>

#include "jinja/expression_parser.h"
#include "jinja/loop.h"
#include "jinja/macro.h"
#include "jinja/operators.h"

namespace dure::jinja {
namespace {

using Names = std::vector<std::string_view>;

bool is_constant_name(const std::string& name) {
  static const std::set<std::string_view> kNames = {"true", "false", "none",
                                                    "True", "False", "None"};
  return kNames.contains(name);
}

Flow print(Context& context, const Value& value) {
  context.print(value.is_string() ? value.text() : str(value));
  return Flow::kNext;
}

NamespaceObject& find_namespace(Context& context, const std::string& name) {
  const Value* found = context.scope().find(name);
  auto* space = found != nullptr ? found->as<NamespaceObject>() : nullptr;
  if (space == nullptr) raise("cannot assign attribute on non-namespace object");
  return *space;
}

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
    const auto deeper = nested();
    Block block;
    for (;;) {
      if (is(Token::kEnd)) {
        if (!ends.empty()) fail_unclosed(ends);
        return block;
      }
      if (is(Token::kData)) {
        block.push_back(parse_data());
      } else if (is(Token::kVariableBegin)) {
        block.push_back(parse_printed());
      } else {
        expect(Token::kBlockBegin);
        for (const std::string_view end : ends) {
          if (is_name(end)) return block;
        }
        block.push_back(parse_statement());
        expect(Token::kBlockEnd);
      }
    }
  }

  Statement parse_data() {
    const int line = this->line();
    return {line, [text = take().text](Context& context) {
              context.print(text);
              return Flow::kNext;
            }};
  }

  Statement parse_printed() {
    const int line = take().line;
    const ExprPtr value = parse_tuple(TupleOptions());
    expect(Token::kVariableEnd);
    return {line, [value](Context& context) { return print(context, context.eval(*value)); }};
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
    expect(Token::kBlockEnd);
    return parse_until(ends);
  }
  Block parse_whole_body(std::string_view end) {
    Block body = parse_body({end});
    take();
    return body;
  }
  // A body whose text is caught: no jump leads out of it.
  Block parse_caught_body(std::string_view end) {
    const Changed outside(loops_, 0);
    return parse_whole_body(end);
  }

  Statement parse_statement() {
    static constexpr std::pair<std::string_view, Statement (Parser::*)()> kTags[] = {
        {"if", &Parser::parse_if},           {"for", &Parser::parse_for},
        {"set", &Parser::parse_set},         {"macro", &Parser::parse_macro},
        {"call", &Parser::parse_call_block}, {"filter", &Parser::parse_filter_block},
        {"with", &Parser::parse_with},       {"break", &Parser::parse_jump},
        {"continue", &Parser::parse_jump},   {"generation", &Parser::parse_generation},
    };
    if (!is(Token::kName)) fail_at(line(), "tag name expected");
    const std::string tag = current().text;
    for (const auto& [name, parse] : kTags) {
      if (name != tag) continue;
      tags_.emplace_back(tag, line());
      Statement statement = (this->*parse)();
      tags_.pop_back();
      return statement;
    }
    fail_unknown_tag(tag);
  }

  [[noreturn]] void fail_unknown_tag(const std::string& tag) const {
    static const std::set<std::string> kOther = {"block", "extends",   "include", "import",
                                                 "from",  "do",        "trans",   "debug",
                                                 "print", "autoescape"};
    if (kOther.contains(tag)) fail_unsupported(line(), "the tag '" + tag + "'");
    fail_at(line(), fmt::format("Encountered unknown tag '{}'.", tag));
  }

  Statement parse_if() {
    const int line = take().line;
    const Changed soft(soft_, true);
    std::vector<std::pair<ExprPtr, Block>> branches;
    do {
      ExprPtr condition = parse_tuple({.conditional = false});
      branches.emplace_back(std::move(condition), parse_body({"elif", "else", "endif"}));
    } while (skip_name("elif"));
    Block otherwise = skip_name("else") ? parse_body({"endif"}) : Block();
    take();
    return {line,
            [branches = std::move(branches), otherwise = std::move(otherwise)](Context& context) {
              for (const auto& [condition, body] : branches) {
                if (truth(context.eval(*condition))) return context.run_block(body);
              }
              return context.run_block(otherwise);
            }};
  }

  Statement parse_for() {
    const int line = take().line;
    auto loop = std::make_shared<ForLoop>();
    loop->target = parse_target({.end_name = "in"});
    if (!skip_name("in")) fail_expected("in");
    loop->iterable = parse_tuple({.conditional = false, .end_name = "recursive"});
    const Changed hard(soft_, false);
    if (skip_name("if")) loop->condition = parse_expression();
    loop->recursive = skip_name("recursive");
    ++loops_;
    loop->body = parse_body({"endfor", "else"});
    --loops_;
    if (skip_name("else")) loop->otherwise = parse_body({"endfor"});
    take();
    return {line, [loop](Context& context) {
              run_loop(context, *loop);
              return Flow::kNext;
            }};
  }

  Statement parse_jump() {
    const std::string tag = current().text;
    const int line = take().line;
    if (loops_ == 0) fail_at(line, fmt::format("'{}' outside loop", tag));
    const Flow flow = tag == "break" ? Flow::kBreak : Flow::kContinue;
    return {line, [flow](Context&) { return flow; }};
  }

  Statement parse_set() {
    const int line = take().line;
    const Target target = parse_target({.namespaces = true});
    ExprPtr value;
    if (skip_operator("=")) {
      value = parse_tuple(TupleOptions());
    } else {
      if (is_operator("|")) fail_unsupported(line, "a filter on a block that is set");
      const Changed hard(soft_, false);
      value = make_caught(line, std::make_shared<Block>(parse_caught_body("endset")));
    }
    return {line, [target, value](Context& context) {
              assign(context, target, context.eval(*value));
              return Flow::kNext;
            }};
  }

  // The text that a block will print, as a value.
  ExprPtr make_caught(int line, std::shared_ptr<const Block> body) const {
    return make(line, {}, [body](Context& context) {
      Context::ScopeChange change(context);
      return Value(context.capture([&] { context.run_block(*body); }));
    });
  }

  Statement parse_macro() {
    const int line = take().line;
    auto macro = std::make_shared<Macro>();
    macro->name = expect_variable();
    parse_macro_parts(*macro, "endmacro", [&] { parse_signature(*macro); });
    return {line, [macro](Context& context) {
              context.scope().set(macro->name, make_macro(context, macro));
              return Flow::kNext;
            }};
  }

  // {% call f(arguments) %}: what stands inside becomes the macro `caller` of f.
  Statement parse_call_block() {
    const int line = take().line;
    auto body = std::make_shared<Macro>();
    body->name = "caller";
    if (is_operator("(")) parse_signature(*body);
    const ExprPtr callee = parse_name();
    const CallArguments arguments = parse_arguments();
    parse_macro_parts(*body, "endcall", [] {});
    return {line, [body, callee, arguments](Context& context) {
              const Value function = context.eval(*callee);
              Arguments values = eval_arguments(context, arguments);
              values.named.emplace_back("caller", make_macro(context, body));
              return print(context, call_value(context, function, values));
            }};
  }

  // The signature and the body, noting whether they call `caller`.
  template <typename Signature>
  void parse_macro_parts(Macro& macro, std::string_view end, Signature signature) {
    const Changed hard(soft_, false);
    macros_.push_back(&macro);
    signature();
    macro.body = parse_caught_body(end);
    macros_.pop_back();
  }

  void parse_signature(Macro& macro) {
    parse_items("(", ")", [&] {
      const int line = this->line();
      const std::string name = expect_variable();
      if (skip_operator("="))
        macro.defaults.push_back(parse_expression());
      else if (!macro.defaults.empty())
        fail_at(line, "non-default argument follows default argument");
      macro.parameters.push_back(name);
    });
  }

  Statement parse_filter_block() {
    const int line = take().line;
    const Changed hard(soft_, false);
    const auto body = std::make_shared<Block>();
    ExprPtr text = make_caught(line, body);
    do text = parse_filter(text);
    while (skip_operator("|"));
    *body = parse_caught_body("endfilter");
    return {line, [text](Context& context) { return print(context, context.eval(*text)); }};
  }

  Statement parse_with() {
    const int line = take().line;
    const Changed hard(soft_, false);
    std::vector<std::pair<Target, ExprPtr>> values;
    while (!is(Token::kBlockEnd)) {
      if (!values.empty()) expect_operator(",");
      Target target = parse_target({});
      expect_operator("=");
      values.emplace_back(std::move(target), parse_expression());
    }
    return make_scoped(line, std::move(values), "endwith");
  }

  Statement parse_generation() {
    const int line = take().line;
    const Changed hard(soft_, false);
    return make_scoped(line, {}, "endgeneration");
  }

  Statement make_scoped(int line, std::vector<std::pair<Target, ExprPtr>> values,
                        std::string_view end) {
    return {line, [values = std::move(values), body = parse_whole_body(end)](Context& context) {
              std::vector<Value> evaluated;  // In the scope outside.
              for (const auto& [target, value] : values) evaluated.push_back(context.eval(*value));
              Context::ScopeChange change(context);
              for (size_t i = 0; i < values.size(); ++i)
                assign(context, values[i].first, evaluated[i]);
              return context.run_block(body);
            }};
  }

  // --- targets ---

  struct TargetOptions {
    bool namespaces = false;
    std::string_view end_name = {};
  };

  std::string expect_variable() {
    const int line = this->line();
    std::string name = expect_name();
    if (is_constant_name(name)) fail_at(line, "can't assign to 'const'");
    return name;
  }

  Target parse_target(TargetOptions options) {
    Target whole;
    bool is_tuple = false;
    while (!ends_tuple(options.end_name)) {
      whole.parts.push_back(parse_one_target(options));
      if (!skip_operator(",")) break;
      is_tuple = true;
    }
    if (whole.parts.empty())
      fail_at(line(), fmt::format("Expected an expression, got '{}'", describe(current())));
    if (is_tuple) return whole;
    Target only = std::move(whole.parts[0]);
    return only;
  }

  Target parse_one_target(TargetOptions options) {
    const auto deeper = nested();
    if (skip_operator("(")) {
      Target inner = parse_target({});
      expect_operator(")");
      return inner;
    }
    const int line = this->line();
    Target target{expect_variable(), {}, {}};
    if (options.namespaces && skip_operator(".")) target.attribute = expect_name();
    if (target.name == "loop" && options.end_name == "in")
      fail_at(line, "Can't assign to special loop variable in for-loop target");
    return target;
  }

  int loops_ = 0;
  std::vector<std::pair<std::string, int>> tags_;  // Open blocks and their lines.
};

}  // namespace

Block parse_template(std::string_view source) { return Parser(source).run(); }

void assign(Context& context, const Target& target, Value value) {
  if (!target.attribute.empty())
    return find_namespace(context, target.name).set(target.attribute, std::move(value));
  if (target.parts.empty()) return context.scope().set(target.name, std::move(value));
  if (!is_iterable(value))
    raise("TypeError: cannot unpack non-iterable {} object", type_name(value));
  const std::vector<Value> items = to_vector(value);
  const size_t wanted = target.parts.size();
  if (items.size() != wanted)
    raise("ValueError: {} values to unpack (expected {}, got {})",
          items.size() < wanted ? "not enough" : "too many", wanted, items.size());
  for (size_t i = 0; i < wanted; ++i) assign(context, target.parts[i], items[i]);
}

}  // namespace dure::jinja
