// A loop looks ahead no farther than the body asks (`loop.last`, `loop.length`): its condition may
// depend on what the body does.
#include "jinja/loop.h"

#include <deque>

namespace dure::jinja {
namespace {

void run_over(Context& context, const ForLoop& loop, const Value& iterable, int depth0);

// What a body sees as `loop`.
struct LoopObject : CallableObject {
  LoopObject(Context& context, const ForLoop& loop, const Value& iterable, int depth0)
      : context(context),
        outside(context.shared_scope()),
        loop(loop),
        items(to_vector(iterable)),
        depth0(depth0) {
    depth = iterable.depth() + 1;
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
  // The next item that the condition lets through, onto `ahead`.
  bool fetch() {
    while (position < items.size()) {
      const Value& item = items[position++];
      if (!passes(item)) continue;
      ahead.push_back(item);
      return true;
    }
    return false;
  }
  bool passes(const Value& item) {
    if (loop.condition == nullptr) return true;
    Context::ScopeChange change(context, outside);
    assign(context, loop.target, item);
    return truth(context.eval(*loop.condition));
  }
  int64_t length() {
    while (fetch()) continue;
    return index0 + 1 + static_cast<int64_t>(ahead.size());
  }
  // What it holds may hold it, through a namespace.
  void finish() {
    position = items.size();
    ahead.clear();
    outside = nullptr;
  }

  Value call(Context&, Arguments& arguments) override;
  std::string type_name() const override { return "LoopContext"; }
  std::optional<Value> attribute(const Value& self, std::string_view name) override;

  Context& context;
  std::shared_ptr<Scope> outside;
  const ForLoop& loop;
  std::vector<Value> items;
  size_t position = 0;
  int depth0;
  int64_t index0 = -1;
  Value current, previous;
  std::deque<Value> ahead;
  std::optional<Value> last_changed;
};

// loop.cycle and loop.changed.
struct LoopMethod : CallableObject {
  LoopMethod(Value loop, bool is_cycle) : loop(std::move(loop)), is_cycle(is_cycle) {
    depth = this->loop.depth() + 1;
  }
  Value call(Context&, Arguments& arguments) override {
    auto& state = *loop.as<LoopObject>();
    if (!arguments.named.empty()) raise("TypeError: a method of loop takes no keyword arguments");
    if (is_cycle) {
      if (arguments.positional.empty()) raise("TypeError: no items for cycling given");
      return arguments.positional[static_cast<size_t>(state.index0) % arguments.positional.size()];
    }
    Value now = Value::tuple(std::move(arguments.positional));
    const bool changed = !state.last_changed.has_value() || !equal(*state.last_changed, now);
    state.last_changed = std::move(now);
    return Value(changed);
  }
  std::string type_name() const override { return "method"; }
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
    return Value(make_object<LoopMethod>(0, self, name == "cycle"));
  return std::nullopt;
}

Value LoopObject::call(Context&, Arguments& arguments) {
  if (!loop.recursive)
    raise("TypeError: The loop must have the 'recursive' marker to be called recursively.");
  if (arguments.positional.size() != 1)
    raise("TypeError: loop() takes the items of the next level");
  return Value(
      context.capture([&] { run_over(context, loop, arguments.positional[0], depth0 + 1); }));
}

void run_over(Context& context, const ForLoop& loop, const Value& iterable, int depth0) {
  const std::shared_ptr<Scope> outside = context.shared_scope();
  const auto state = make_object<LoopObject>(0, context, loop, iterable, depth0);
  state->charge(static_cast<int64_t>(state->items.size() * sizeof(Value)));
  const Value state_value(state);
  bool empty = true;
  while (state->advance()) {
    empty = false;
    Context::ScopeChange change(context, outside);
    context.scope().set("loop", state_value);
    assign(context, loop.target, state->current);
    if (context.run_block(loop.body) == Flow::kBreak) break;
  }
  state->finish();
  if (empty) {
    Context::ScopeChange change(context, outside);
    context.run_block(loop.otherwise);
  }
}

}  // namespace

void run_loop(Context& context, const ForLoop& loop) {
  run_over(context, loop, context.eval(*loop.iterable), 0);
}

}  // namespace dure::jinja
