// Scopes, and the guard around every node at work: position, steps, depth.
#include "jinja/context.h"

namespace dure::jinja {

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    if (const Value* found = scope->variables.find(name)) return found;
  }
  return nullptr;
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

// After an error the position stays where it happened.
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
  void done() {
    context_.line_ = line_before_;
    --context_.depth_;
  }

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

Flow Context::run_block(const Block& block) {
  for (const Statement& statement : block) {
    DepthGuard guard(*this, statement.line);
    const Flow flow = statement.run(*this);
    guard.done();
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

std::string Context::capture(const std::function<void()>& body) {
  std::string outer = std::exchange(output_, std::string());
  body();
  return std::exchange(output_, std::move(outer));
}

void Context::print(std::string_view text) {
  budget_.step(static_cast<int64_t>(text.size() / 64));
  if (static_cast<int64_t>(output_.size() + text.size()) > budget_.limits().output_bytes_max) {
    raise("the template prints more than {} MiB", budget_.limits().output_bytes_max >> 20);
  }
  output_ += text;
}

Value call_value(Context& context, const Value& callee, Arguments& arguments) {
  if (callee.is_undefined()) raise_undefined(callee);
  auto* function = callee.as<CallableObject>();
  if (function == nullptr) raise("TypeError: '{}' object is not callable", type_name(callee));
  return function->call(context, arguments);
}

}  // namespace dure::jinja
