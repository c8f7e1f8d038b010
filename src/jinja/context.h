// jinja/context.h: the state of one rendering: variables, output, position, budget.
//
// Not here: the tree (ast.h), what operators and filters do (operators.h, builtin.h).
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/ast.h"
#include "jinja/budget.h"
#include "jinja/value.h"

namespace dure::jinja {

// Variables of one block. Blocks inside see those outside; what they set stays inside.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> parent) : parent(std::move(parent)) {}
  std::shared_ptr<Scope> parent;
  Names variables;

  const Value* find(std::string_view name) const;  // Here or further out.
  void set(std::string_view name, Value value) { variables.set(name, std::move(value)); }  // Here.
};

class Context {
 public:
  Context(const Limits& limits, std::tm now);
  ~Context();  // Breaks the cycles that namespaces and macros may have made.
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Value eval(const Expr& expr);
  Flow run_block(const Block& block);
  // What `body` prints, instead of printing it.
  std::string capture(const std::function<void()>& body);

  Scope& scope() { return *scope_; }
  std::shared_ptr<Scope> shared_scope() const { return scope_; }
  // A macro holds it.
  void keep(std::shared_ptr<Scope> scope) { kept_scopes_.push_back(std::move(scope)); }
  void keep(std::shared_ptr<NamespaceObject> space) { kept_spaces_.push_back(std::move(space)); }

  void print(std::string_view text);
  std::string take_output() { return std::move(output_); }
  int line() const { return line_; }
  const std::tm& now() const { return now_; }

  // The scope is another one as long as this lives.
  class ScopeChange {
   public:
    explicit ScopeChange(Context& context) : ScopeChange(context, context.scope_) {}
    ScopeChange(Context& context, std::shared_ptr<Scope> parent)
        : context_(context),
          before_(std::exchange(context.scope_, std::make_shared<Scope>(std::move(parent)))) {}
    ~ScopeChange() { context_.scope_ = std::move(before_); }
    ScopeChange(const ScopeChange&) = delete;
    ScopeChange& operator=(const ScopeChange&) = delete;

   private:
    Context& context_;
    std::shared_ptr<Scope> before_;
  };

 private:
  class DepthGuard;
  Budget budget_;  // First: it must outlive all values.
  std::tm now_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> kept_scopes_;
  std::vector<std::shared_ptr<NamespaceObject>> kept_spaces_;
  std::string output_;
  int line_ = 1, depth_ = 0;
};

Value call_value(Context& context, const Value& callee, Arguments& arguments);

}  // namespace dure::jinja
