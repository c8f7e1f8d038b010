#include "text/jinja/context.h"

namespace dure::jinja {

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    for (const auto& variable : scope->variables) {
      if (variable.first == name) return &variable.second;
    }
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& variable : variables) {
    if (variable.first == name) {
      variable.second = std::move(value);
      return;
    }
  }
  variables.emplace_back(std::string(name), std::move(value));
}

Context::Context(const Limits& limits, std::tm now)
    : budget_(limits), now_(now), scope_(std::make_shared<Scope>(nullptr)) {}

Context::~Context() {
  // All namespaces and scopes are held here while they are emptied, so that none takes another one
  // with it.
  for (const auto& space : kept_spaces_) space->members.clear();
  for (const auto& scope : kept_scopes_) scope->variables.clear();
  if (scope_ != nullptr) scope_->variables.clear();
}

// Position and depth while a node is at work. After an error the position stays where it happened.
class Context::DepthGuard {
 public:
  DepthGuard(Context& context, int line)
      : context_(context), line_before_(std::exchange(context.line_, line)) {
    context_.budget_.step(1);
    if (++context_.depth_ > context_.budget_.limits().depth_max) {
      raise("more than {} steps inside each other; does a macro call itself without end?",
            context_.budget_.limits().depth_max);
    }
  }
  void done() { context_.line_ = line_before_, --context_.depth_; }

 private:
  Context& context_;
  int line_before_;
};

Value Context::eval(const Expr& expr) {
  DepthGuard guard(*this, expr.line);
  Value value = expr.eval(*this);
  guard.done();
  return value;
}

Flow Context::run(const Statement& statement) {
  DepthGuard guard(*this, statement.line);
  const Flow flow = statement.run(*this);
  guard.done();
  return flow;
}

Flow Context::run_block(const Block& block) {
  for (const auto& statement : block) {
    if (const Flow flow = run(*statement); flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

void Context::print(std::string_view text) {
  budget_.step(static_cast<int64_t>(text.size() / 64));
  if (static_cast<int64_t>(output_.size() + text.size()) > budget_.limits().output_bytes_max) {
    raise("the template prints more than {} MiB", budget_.limits().output_bytes_max >> 20);
  }
  output_ += text;
}

}  // namespace dure::jinja
