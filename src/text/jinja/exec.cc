// Running of statements (ast.h): output, branches, loops, assignments, macros.
#include <deque>

#include "text/jinja/ast.h"
#include "text/jinja/context.h"
#include "text/jinja/operators.h"

namespace dure::jinja {
namespace {

// What a body sees as `loop`. Looks one item ahead at most, and only when asked to.
struct LoopObject : CallableObject {
  LoopObject(const ForStatement& statement, Value items, std::function<bool(Value&)> pull,
             int depth0)
      : statement(statement), items(std::move(items)), pull(std::move(pull)), depth0(depth0) {
    depth = this->items.depth() + 1;
  }

  bool advance() {
    if (!peek()) return false;
    previous = std::move(current);
    current = std::move(ahead.front());
    ahead.pop_front();
    ++index0;
    return true;
  }
  bool peek() { return !ahead.empty() || fetch(); }
  bool fetch() {
    Value item;
    if (finished || !pull(item)) return finished = true, false;
    ahead.emplace_back(std::move(item));
    return true;
  }
  int64_t length() {
    while (fetch()) continue;
    return index0 + 1 + static_cast<int64_t>(ahead.size());
  }

  Value call(Context& context, Arguments& arguments) override;
  std::string type_name() const override { return "LoopContext"; }
  std::string repr() const override {
    return fmt::format("<LoopContext {}/{}>", index0 + 1, const_cast<LoopObject*>(this)->length());
  }
  std::optional<Value> attribute(const Value& self, std::string_view name) override;

  const ForStatement& statement;
  Value items;
  std::function<bool(Value&)> pull;
  int depth0;
  int64_t index0 = -1;
  Value current, previous;
  std::deque<Value> ahead;
  bool finished = false;
  std::optional<Value> last_changed;
};

// loop.cycle and loop.changed.
struct LoopMethod : CallableObject {
  LoopMethod(Value loop, bool is_cycle) : loop(std::move(loop)), is_cycle(is_cycle) {
    depth = this->loop.depth() + 1;
  }
  Value call(Context&, Arguments& arguments) override {
    auto* state = static_cast<LoopObject*>(loop.object());
    if (!arguments.named.empty())
      raise("TypeError: loop.{}() takes no keyword arguments", is_cycle ? "cycle" : "changed");
    if (is_cycle) {
      if (arguments.positional.empty()) raise("TypeError: no items for cycling given");
      return arguments.positional[static_cast<size_t>(state->index0) % arguments.positional.size()];
    }
    Value now = Value::tuple(std::move(arguments.positional));
    const bool changed = !state->last_changed.has_value() || !equal(*state->last_changed, now);
    state->last_changed = std::move(now);
    return Value(changed);
  }
  std::string type_name() const override { return "method"; }
  std::string repr() const override { return is_cycle ? "<method cycle>" : "<method changed>"; }
  Value loop;
  bool is_cycle;
};

std::optional<Value> LoopObject::attribute(const Value& self, std::string_view name) {
  if (name == "index") return Value(index0 + 1);
  if (name == "index0") return Value(index0);
  if (name == "first") return Value(index0 == 0);
  if (name == "last") return Value(!peek());
  if (name == "length") return Value(length());
  if (name == "revindex") return Value(length() - index0);
  if (name == "revindex0") return Value(length() - index0 - 1);
  if (name == "depth") return Value(depth0 + 1);
  if (name == "depth0") return Value(depth0);
  if (name == "previtem")
    return index0 == 0 ? Value::undefined("there is no previous item") : previous;
  if (name == "nextitem") return peek() ? ahead.front() : Value::undefined("there is no next item");
  if (name == "cycle" || name == "changed")
    return Value(std::shared_ptr<Object>(make_object<LoopMethod>(0, self, name == "cycle")));
  return std::nullopt;
}

Value LoopObject::call(Context& context, Arguments& arguments) {
  if (!statement.recursive)
    raise("TypeError: The loop must have the 'recursive' marker to be called recursively.");
  if (arguments.positional.size() != 1)
    raise("TypeError: loop() takes the items of the next level");
  return Value(
      context.capture([&] { statement.run_over(context, arguments.positional[0], depth0 + 1); }));
}

std::optional<Value> take_named(Arguments& arguments, const std::string& name) {
  for (size_t i = 0; i < arguments.named.size(); ++i) {
    if (arguments.named[i].first != name) continue;
    Value value = std::move(arguments.named[i].second);
    arguments.named.erase(arguments.named.begin() + static_cast<int64_t>(i));
    return value;
  }
  return std::nullopt;
}

// Arguments become variables of the scope of now: given ones, then defaults (which may use earlier
// parameters).
void bind_arguments(Context& context, const MacroObject& object, Arguments& arguments) {
  const MacroSignature& macro = object.macro;
  const size_t count = macro.parameters.size(),
               given = std::min(count, arguments.positional.size());
  std::vector<std::optional<Value>> values(count);
  for (size_t i = 0; i < count; ++i) {
    if (i < given)
      values[i] = arguments.positional[i];
    else
      values[i] = take_named(arguments, macro.parameters[i]);
  }
  Scope& scope = context.scope();
  if (macro.uses_caller) {
    scope.set("caller",
              take_named(arguments, "caller").value_or(Value::undefined("No caller defined")));
  }
  if (macro.uses_kwargs) {
    std::vector<std::pair<Value, Value>> rest;
    for (auto& [name, value] : arguments.named) rest.emplace_back(Value(name), std::move(value));
    scope.set("kwargs", Value::dict(std::move(rest)));
  } else if (!arguments.named.empty()) {
    raise("TypeError: macro '{}' takes no keyword argument '{}'", macro.name,
          arguments.named[0].first);
  }
  if (macro.uses_varargs) {
    scope.set("varargs", Value::tuple({arguments.positional.begin() + static_cast<int64_t>(given),
                                       arguments.positional.end()}));
  } else if (arguments.positional.size() > count) {
    raise("TypeError: macro '{}' takes not more than {} argument(s)", macro.name, count);
  }
  const size_t first_default = count - macro.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    if (!values[i].has_value()) {
      values[i] = i >= first_default ? context.eval(*macro.defaults[i - first_default])
                                     : Value::undefined(fmt::format(
                                           "parameter '{}' was not provided", macro.parameters[i]));
    }
    scope.set(macro.parameters[i], *values[i]);
  }
}

std::shared_ptr<MacroObject> make_macro(Context& context, const MacroSignature& macro) {
  auto object = make_object<MacroObject>(0, macro, context.shared_scope());
  context.keep(context.shared_scope());
  object->charge(256);  // The scope is kept to the end.
  return object;
}

void unpack(Context& context, const Target& target, const Value& value) {
  if (!is_iterable(value))
    raise("TypeError: cannot unpack non-iterable {} object", type_name(value));
  const std::vector<Value> items = to_vector(value);
  const size_t wanted = target.parts.size();
  if (items.size() < wanted)
    raise("ValueError: not enough values to unpack (expected {}, got {})", wanted, items.size());
  if (items.size() > wanted) raise("ValueError: too many values to unpack (expected {})", wanted);
  for (size_t i = 0; i < wanted; ++i) assign(context, target.parts[i], items[i]);
}

NamespaceObject& find_namespace(Context& context, const Target& target) {
  const Value* found = context.scope().find(target.name);
  auto* space = found != nullptr ? found->as<NamespaceObject>() : nullptr;
  if (space == nullptr) raise("cannot assign attribute on non-namespace object");
  return *space;
}

}  // namespace

void assign(Context& context, const Target& target, Value value) {
  if (target.is_tuple) return unpack(context, target, value);
  if (!target.attribute.empty())
    return find_namespace(context, target).set(target.attribute, std::move(value));
  context.scope().set(target.name, std::move(value));
}

Flow DataStatement::run(Context& context) const {
  context.print(text);
  return Flow::kNext;
}

Flow PrintStatement::run(Context& context) const {
  const Value printed = context.eval(*value);
  context.print(printed.is_string() ? printed.text() : str(printed));
  return Flow::kNext;
}

Flow IfStatement::run(Context& context) const {
  for (const auto& [condition, body] : branches) {
    if (truth(context.eval(*condition))) return context.run_block(body);
  }
  return context.run_block(otherwise);
}

Flow ForStatement::run(Context& context) const {
  run_over(context, context.eval(*iterable), 0);
  return Flow::kNext;
}

void ForStatement::run_over(Context& context, const Value& items, int depth0) const {
  const std::shared_ptr<Scope> outside = context.shared_scope();
  auto at = std::make_shared<Iterator>(items);
  const auto pull = [this, &context, at, outside](Value& item) {
    while (at->next(item)) {
      if (condition == nullptr) return true;
      Context::ScopeChange change(context, outside);
      assign(context, target, item);
      if (truth(context.eval(*condition))) return true;
    }
    return false;
  };
  auto loop = make_object<LoopObject>(0, *this, items, pull, depth0);
  const Value loop_value{std::shared_ptr<Object>(loop)};
  bool empty = true;
  while (loop->advance()) {
    empty = false;
    Context::ScopeChange change(context, outside);
    context.scope().set("loop", loop_value);
    assign(context, target, loop->current);
    if (context.run_block(body) == Flow::kBreak) break;
  }
  loop->pull = nullptr;  // It refers to this rendering's stack.
  loop->finished = true;
  if (empty) {
    Context::ScopeChange change(context, outside);
    context.run_block(otherwise);
  }
}

Flow SetStatement::run(Context& context) const {
  assign(context, target, context.eval(*value));
  return Flow::kNext;
}

Flow SetBlockStatement::run(Context& context) const {
  Value text;
  {
    Context::ScopeChange change(context);
    Flow flow = Flow::kNext;
    text = Value(context.capture([&] { flow = context.run_block(body); }));
    if (filter != nullptr) text = static_cast<const FilterExpr&>(*filter).apply(context, &text);
    if (flow != Flow::kNext) return flow;
  }
  assign(context, target, text);
  return Flow::kNext;
}

Flow MacroStatement::run(Context& context) const {
  context.scope().set(macro.name, Value(std::shared_ptr<Object>(make_macro(context, macro))));
  return Flow::kNext;
}

Flow CallStatement::run(Context& context) const {
  const Value body{std::shared_ptr<Object>(make_macro(context, caller))};
  context.print(str(static_cast<const CallExpr&>(*call).call(context, &body)));
  return Flow::kNext;
}

Flow FilterStatement::run(Context& context) const {
  Context::ScopeChange change(context);
  Flow flow = Flow::kNext;
  const Value text(context.capture([&] { flow = context.run_block(body); }));
  context.print(str(static_cast<const FilterExpr&>(*filter).apply(context, &text)));
  return flow;
}

Flow WithStatement::run(Context& context) const {
  std::vector<Value> evaluated;  // In the scope outside.
  for (const auto& [target, value] : values) evaluated.push_back(context.eval(*value));
  Context::ScopeChange change(context);
  for (size_t i = 0; i < values.size(); ++i) assign(context, values[i].first, evaluated[i]);
  return context.run_block(body);
}

Value MacroObject::call(Context& context, Arguments& arguments) {
  Context::ScopeChange change(context, scope);
  bind_arguments(context, *this, arguments);
  return Value(context.capture([&] { context.run_block(macro.body); }));
}

std::string MacroObject::repr() const {
  return macro.name.empty() ? "<Macro anonymous>" : "<Macro " + repr_of_text(macro.name) + ">";
}

std::optional<Value> MacroObject::attribute(const Value&, std::string_view name) {
  if (name == "name") return macro.name.empty() ? Value::none() : Value(macro.name);
  if (name == "caller") return Value(macro.uses_caller);
  if (name == "catch_kwargs") return Value(macro.uses_kwargs);
  if (name == "catch_varargs") return Value(macro.uses_varargs);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const std::string& parameter : macro.parameters) names.emplace_back(parameter);
  return Value::tuple(std::move(names));
}

}  // namespace dure::jinja
