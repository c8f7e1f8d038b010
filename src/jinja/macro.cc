// Calls of macros. The scope a macro was made in is kept to the end of the rendering.
#include "jinja/macro.h"

#include <algorithm>

namespace dure::jinja {
namespace {

std::optional<Value> take_named(Arguments& arguments, const std::string& name) {
  const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                  [&](const auto& one) { return one.first == name; });
  if (found == arguments.named.end()) return std::nullopt;
  Value value = std::move(found->second);
  arguments.named.erase(found);
  return value;
}

// Arguments become variables of the scope of now: given ones, then defaults (which may use earlier
// parameters).
void bind_arguments(Context& context, const Macro& macro, Arguments& arguments) {
  const size_t count = macro.parameters.size();
  if (arguments.positional.size() > count)
    raise("TypeError: macro '{}' takes not more than {} argument(s)", macro.name, count);
  std::vector<std::optional<Value>> values(count);
  for (size_t i = 0; i < count; ++i) {
    if (i < arguments.positional.size())
      values[i] = arguments.positional[i];
    else
      values[i] = take_named(arguments, macro.parameters[i]);
  }
  if (macro.uses_caller) {
    context.scope().set(
        "caller", take_named(arguments, "caller").value_or(Value::undefined("No caller defined")));
  }
  if (!arguments.named.empty())
    raise("TypeError: macro '{}' takes no keyword argument '{}'", macro.name,
          arguments.named[0].first);
  const size_t first_default = count - macro.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = macro.parameters[i];
    if (!values[i].has_value() && i >= first_default)
      values[i] = context.eval(*macro.defaults[i - first_default]);
    context.scope().set(
        name, values[i].has_value()
                  ? *values[i]
                  : Value::undefined(fmt::format("parameter '{}' was not provided", name)));
  }
}

struct MacroObject : CallableObject {
  MacroObject(std::shared_ptr<const Macro> macro, std::shared_ptr<Scope> scope)
      : macro(std::move(macro)), scope(std::move(scope)) {}
  Value call(Context& context, Arguments& arguments) override {
    Context::ScopeChange change(context, scope);
    bind_arguments(context, *macro, arguments);
    return Value(context.capture([&] { context.run_block(macro->body); }));
  }
  std::string type_name() const override { return "Macro"; }

  std::shared_ptr<const Macro> macro;
  std::shared_ptr<Scope> scope;
};

}  // namespace

Value make_macro(Context& context, std::shared_ptr<const Macro> macro) {
  auto object = make_object<MacroObject>(0, std::move(macro), context.shared_scope());
  context.keep(context.shared_scope());
  object->charge(256);
  return Value(std::move(object));
}

}  // namespace dure::jinja
