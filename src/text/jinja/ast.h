// text/jinja/ast.h: a parsed template: expressions that evaluate themselves, statements that run
// themselves.
//
// Made by parser.h, immutable afterwards, so that threads may share it. Not here: values (value.h),
// the state of a rendering (context.h). Evaluation is in eval.cc, running in exec.cc.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace dure::jinja {

class Context;

using FilterFunction = Value (*)(Context& context, const Value& subject, Arguments& arguments);
using TestFunction = bool (*)(Context& context, const Value& subject, Arguments& arguments);

struct Expr {
  explicit Expr(int line) : line(line) {}
  virtual ~Expr() = default;
  virtual Value eval(
      Context& context) const = 0;  // Call Context::eval instead, which counts steps and depth.
  int line;
  // Of the tree below; bounded by the parser, so that recursion over the tree is bounded.
  int depth = 1;

 protected:
  void adopt(const std::unique_ptr<Expr>& child) {
    if (child != nullptr) depth = std::max(depth, child->depth + 1);
  }
};
using ExprPtr = std::unique_ptr<Expr>;

struct ConstExpr : Expr {
  ConstExpr(int line, Value value) : Expr(line), value(std::move(value)) {}
  Value eval(Context&) const override { return value; }
  Value value;
};

struct NameExpr : Expr {
  NameExpr(int line, std::string name) : Expr(line), name(std::move(name)) {}
  Value eval(Context& context) const override;
  std::string name;
};

struct SequenceExpr : Expr {  // A list or a tuple.
  SequenceExpr(int line, Kind kind, std::vector<ExprPtr> items)
      : Expr(line), kind(kind), items(std::move(items)) {
    for (const ExprPtr& item : this->items) adopt(item);
  }
  Value eval(Context& context) const override;
  Kind kind;
  std::vector<ExprPtr> items;
};

struct DictExpr : Expr {
  DictExpr(int line, std::vector<std::pair<ExprPtr, ExprPtr>> items)
      : Expr(line), items(std::move(items)) {
    for (const auto& [key, value] : this->items) adopt(key), adopt(value);
  }
  Value eval(Context& context) const override;
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
};

struct UnaryExpr : Expr {
  enum class Operator { kNot, kMinus, kPlus };
  UnaryExpr(int line, Operator op, ExprPtr operand)
      : Expr(line), op(op), operand(std::move(operand)) {
    adopt(this->operand);
  }
  Value eval(Context& context) const override;
  Operator op;
  ExprPtr operand;
};

enum class BinaryOperator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };

struct BinaryExpr : Expr {
  BinaryExpr(int line, BinaryOperator op, ExprPtr left, ExprPtr right)
      : Expr(line), op(op), left(std::move(left)), right(std::move(right)) {
    adopt(this->left), adopt(this->right);
  }
  Value eval(Context& context) const override;
  BinaryOperator op;
  ExprPtr left, right;
};

struct LogicExpr : Expr {  // `and`, `or`: the value of the side that decides.
  LogicExpr(int line, bool is_and, ExprPtr left, ExprPtr right)
      : Expr(line), is_and(is_and), left(std::move(left)), right(std::move(right)) {
    adopt(this->left), adopt(this->right);
  }
  Value eval(Context& context) const override;
  bool is_and;
  ExprPtr left, right;
};

enum class Comparison { kEqual, kUnequal, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

struct CompareExpr : Expr {  // a < b <= c: each pair, all of them.
  CompareExpr(int line, ExprPtr first, std::vector<std::pair<Comparison, ExprPtr>> rest)
      : Expr(line), first(std::move(first)), rest(std::move(rest)) {
    adopt(this->first);
    for (const auto& [op, operand] : this->rest) adopt(operand);
  }
  Value eval(Context& context) const override;
  ExprPtr first;
  std::vector<std::pair<Comparison, ExprPtr>> rest;
};

struct ConcatExpr : Expr {  // a ~ b ~ c
  ConcatExpr(int line, std::vector<ExprPtr> parts) : Expr(line), parts(std::move(parts)) {
    for (const ExprPtr& part : this->parts) adopt(part);
  }
  Value eval(Context& context) const override;
  std::vector<ExprPtr> parts;
};

struct ConditionalExpr : Expr {  // value if condition else otherwise (null: undefined)
  ConditionalExpr(int line, ExprPtr condition, ExprPtr value, ExprPtr otherwise)
      : Expr(line),
        condition(std::move(condition)),
        value(std::move(value)),
        otherwise(std::move(otherwise)) {
    adopt(this->condition), adopt(this->value), adopt(this->otherwise);
  }
  Value eval(Context& context) const override;
  ExprPtr condition, value, otherwise;
};

struct AttributeExpr : Expr {  // a.b
  AttributeExpr(int line, ExprPtr subject, std::string name)
      : Expr(line), subject(std::move(subject)), name(std::move(name)) {
    adopt(this->subject);
  }
  Value eval(Context& context) const override;
  ExprPtr subject;
  std::string name;
};

struct ItemExpr : Expr {  // a[b]
  ItemExpr(int line, ExprPtr subject, ExprPtr index)
      : Expr(line), subject(std::move(subject)), index(std::move(index)) {
    adopt(this->subject), adopt(this->index);
  }
  Value eval(Context& context) const override;
  ExprPtr subject, index;
};

struct SliceExpr : Expr {  // a[start:stop:step]; each may be null.
  SliceExpr(int line, ExprPtr subject, ExprPtr start, ExprPtr stop, ExprPtr step)
      : Expr(line),
        subject(std::move(subject)),
        start(std::move(start)),
        stop(std::move(stop)),
        step(std::move(step)) {
    adopt(this->subject), adopt(this->start), adopt(this->stop), adopt(this->step);
  }
  Value eval(Context& context) const override;
  ExprPtr subject, start, stop, step;
};

struct CallArguments {  // f(a, b, name=c, *d, **e)
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, star_star;
  Arguments eval(Context& context) const;
  int depth() const;
};

struct CallExpr : Expr {
  CallExpr(int line, ExprPtr callee, CallArguments arguments)
      : Expr(line), callee(std::move(callee)), arguments(std::move(arguments)) {
    adopt(this->callee);
    depth = std::max(depth, this->arguments.depth() + 1);
  }
  Value eval(Context& context) const override { return call(context, nullptr); }
  Value call(Context& context, const Value* caller) const;  // `caller`: of a {% call %} block.
  ExprPtr callee;
  CallArguments arguments;
};

struct FilterExpr
    : Expr {  // `subject` is null in {% filter %} and {% set %} blocks: the block's text.
  FilterExpr(int line, ExprPtr subject, std::string name, FilterFunction function,
             CallArguments arguments)
      : Expr(line),
        subject(std::move(subject)),
        name(std::move(name)),
        function(function),
        arguments(std::move(arguments)) {
    adopt(this->subject);
    depth = std::max(depth, this->arguments.depth() + 1);
  }
  Value eval(Context& context) const override { return apply(context, nullptr); }
  Value apply(Context& context, const Value* block_text) const;
  ExprPtr subject;
  std::string name;
  FilterFunction function;  // Null: unknown, which is an error once it is reached (in a branch).
  CallArguments arguments;
};

struct TestExpr : Expr {
  TestExpr(int line, ExprPtr subject, std::string name, TestFunction function,
           CallArguments arguments)
      : Expr(line),
        subject(std::move(subject)),
        name(std::move(name)),
        function(function),
        arguments(std::move(arguments)) {
    adopt(this->subject);
    depth = std::max(depth, this->arguments.depth() + 1);
  }
  Value eval(Context& context) const override;
  ExprPtr subject;
  std::string name;
  TestFunction function;
  CallArguments arguments;
};

// What may stand left of "=": a name, namespace.attribute, or several in a tuple.
struct Target {
  std::string name;
  std::string attribute;      // Not empty: of the namespace `name`.
  std::vector<Target> parts;  // A tuple, if `is_tuple`.
  bool is_tuple = false;
  int line = 0;
};

enum class Flow { kNext, kBreak, kContinue };

struct Statement {
  explicit Statement(int line) : line(line) {}
  virtual ~Statement() = default;
  virtual Flow run(Context& context) const = 0;  // Call Context::run instead.
  int line;
};
using Block = std::vector<std::unique_ptr<Statement>>;

struct DataStatement : Statement {
  DataStatement(int line, std::string text) : Statement(line), text(std::move(text)) {}
  Flow run(Context& context) const override;
  std::string text;
};

struct PrintStatement : Statement {
  PrintStatement(int line, ExprPtr value) : Statement(line), value(std::move(value)) {}
  Flow run(Context& context) const override;
  ExprPtr value;
};

struct IfStatement : Statement {
  using Statement::Statement;
  Flow run(Context& context) const override;
  std::vector<std::pair<ExprPtr, Block>> branches;
  Block otherwise;
};

struct ForStatement : Statement {
  using Statement::Statement;
  Flow run(Context& context) const override;
  void run_over(Context& context, const Value& iterable,
                int depth0) const;  // Once, or for each depth of a recursive loop.
  Target target;
  ExprPtr iterable, condition;
  bool recursive = false;
  Block body, otherwise;
};

struct SetStatement : Statement {
  using Statement::Statement;
  Flow run(Context& context) const override;
  Target target;
  ExprPtr value;
};

struct SetBlockStatement : Statement {
  using Statement::Statement;
  Flow run(Context& context) const override;
  Target target;
  ExprPtr filter;  // A FilterExpr chain whose innermost subject is null, or null.
  Block body;
};

struct MacroSignature {
  std::string name;  // Empty: a {% call %} block.
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // Of the last parameters.
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
  Block body;
};

struct MacroStatement : Statement {
  using Statement::Statement;
  Flow run(Context& context) const override;
  MacroSignature macro;
};

struct CallStatement : Statement {
  using Statement::Statement;
  Flow run(Context& context) const override;
  MacroSignature caller;
  ExprPtr call;  // A CallExpr.
};

struct FilterStatement : Statement {
  using Statement::Statement;
  Flow run(Context& context) const override;
  ExprPtr filter;
  Block body;
};

struct WithStatement
    : Statement {  // Also, without targets, every block that only has a scope of its own.
  using Statement::Statement;
  Flow run(Context& context) const override;
  std::vector<std::pair<Target, ExprPtr>> values;
  Block body;
};

struct JumpStatement : Statement {
  JumpStatement(int line, Flow flow) : Statement(line), flow(flow) {}
  Flow run(Context&) const override { return flow; }
  Flow flow;
};

}  // namespace dure::jinja
