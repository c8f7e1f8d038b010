// jinja/expression_parser.h: tokens into expressions; internal to the parser.
//
// Owns the position in the tokens, the bounds of recursion, and the rules of precedence. Statements
// are parser.cc's, which builds on this class.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/ast.h"
#include "jinja/lexer.h"
#include "jinja/macro.h"

namespace dure::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::string_view source) : tokens_(tokenize(source)) {}

 protected:
  static constexpr int kExprDepthMax = 400;  // Of an expression's tree.
  static constexpr int kNestedMax = 300;     // Brackets in brackets, blocks in blocks.

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

  [[noreturn]] void fail_unsupported(int line, std::string_view what) const {
    throw TemplateError(fmt::format("{} is not supported", what), ErrorCode::kUnsupported, line);
  }

  // A variable of the parser is another as long as this lives.
  template <typename T>
  class Changed {
   public:
    Changed(T& variable, T value) : variable_(variable), before_(std::exchange(variable, value)) {}
    ~Changed() { variable_ = before_; }

   private:
    T& variable_;
    T before_;
  };
  // Bounds recursion, as long as it lives.
  [[nodiscard]] Changed<int> nested() {
    if (nested_ >= kNestedMax) fail_at(line(), fmt::format("nested deeper than {}", kNestedMax));
    return Changed<int>(nested_, nested_ + 1);
  }

  // "(a, b, )": between the brackets, each by `parse_one`.
  template <typename ParseOne>
  void parse_items(std::string_view open, std::string_view close, ParseOne parse_one) {
    expect_operator(open);
    while (!skip_operator(close)) {
      parse_one();
      if (!is_operator(close)) expect_operator(",");
    }
  }

  // `parts`: the expressions that `eval` evaluates.
  ExprPtr make(int line, const std::vector<ExprPtr>& parts,
               std::function<Value(Context&)> eval) const;
  ExprPtr make_constant(int line, Value value) const {
    return make(line, {}, [value = std::move(value)](Context&) { return value; });
  }

  struct TupleOptions {
    bool conditional = true;  // Whether `a if b else c` may stand here without brackets.
    bool may_be_empty = false;
    std::string_view end_name = {};
  };
  bool ends_tuple(std::string_view end_name) const;
  ExprPtr parse_tuple(TupleOptions options);
  ExprPtr parse_expression();
  ExprPtr parse_or() { return parse_logic("or", &ExpressionParser::parse_and); }
  ExprPtr parse_and() { return parse_logic("and", &ExpressionParser::parse_not); }
  ExprPtr parse_logic(std::string_view word, ExprPtr (ExpressionParser::*parse)());
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_arithmetic(int level);
  ExprPtr parse_unary(bool with_filters);
  ExprPtr parse_primary();
  ExprPtr parse_name();
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr value);
  ExprPtr parse_filters_and_tests(ExprPtr value);
  ExprPtr parse_attribute(ExprPtr subject);
  ExprPtr parse_subscript(ExprPtr subject);
  ExprPtr parse_slice(int line, ExprPtr subject, ExprPtr start);
  ExprPtr parse_call(ExprPtr callee);
  CallArguments parse_arguments();
  ExprPtr parse_filter(ExprPtr subject);  // After the "|".
  ExprPtr parse_test(ExprPtr subject);
  bool begins_test_argument() const;
  // In a branch, unknown filters and tests are errors only when they are reached: templates guard
  // new ones so.
  void note_unknown(std::string_view what, const std::string& name, int line);

  int nested_ = 0;
  bool soft_ = false;
  std::vector<TemplateError> unknown_;  // Filters and tests that do not exist, outside branches.
  std::vector<Macro*> macros_;          // Being parsed, outermost first.

 private:
  std::vector<LexedToken> tokens_;
  size_t at_ = 0;
};

}  // namespace dure::jinja
