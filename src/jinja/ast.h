// jinja/ast.h: a parsed template: expressions and statements, each a closure over its parts.
//
// Made by the parser, which so says next to each rule of the grammar what it means; immutable
// afterwards, so that threads may share it. Not here: values (value.h), the state of a rendering
// (context.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace dure::jinja {

struct Expr {
  int line = 1;
  // Of the tree below; bounded by the parser, so that recursion over the tree is bounded.
  int depth = 1;
  std::function<Value(Context&)> eval;  // Call Context::eval, which counts steps and depth.
};
using ExprPtr = std::shared_ptr<const Expr>;

enum class Flow { kNext, kBreak, kContinue };

struct Statement {
  int line = 1;
  std::function<Flow(Context&)> run;  // By Context::run_block.
};
using Block = std::vector<Statement>;

struct CallArguments {  // f(a, b, name=c)
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
};
Arguments eval_arguments(Context& context, const CallArguments& arguments);

// What may stand left of "=": a name, namespace.attribute, or several in a tuple.
struct Target {
  std::string name;
  std::string attribute;      // Not empty: of the namespace `name`.
  std::vector<Target> parts;  // Not empty: a tuple.
};
void assign(Context& context, const Target& target, Value value);

// The whole template. Throws TemplateError with the line (parser.cc).
Block parse_template(std::string_view source);

}  // namespace dure::jinja
