#include "text/jinja/globals.h"

#include "text/jinja/arguments.h"
#include "text/jinja/operators.h"

namespace dure::jinja {
namespace {

struct Function : CallableObject {
  using Body = Value (*)(Context& context, Arguments& arguments);
  Function(const char* name, Body body) : name(name), body(body) {}
  Value call(Context& context, Arguments& arguments) override { return body(context, arguments); }
  std::string type_name() const override { return "function"; }
  std::string repr() const override { return fmt::format("<function {}>", name); }
  const char* name;
  Body body;
};

Value call_range(Context&, Arguments& arguments) {
  Bound bound("range", arguments, {"start", "stop", "step"}, 1);
  const int64_t first = bound.integer(0, 0);
  const int64_t start = bound.has(1) ? first : 0, stop = bound.has(1) ? bound.integer(1, 0) : first,
                step = bound.integer(2, 1);
  if (step == 0) raise("ValueError: range() arg 3 must not be zero");
  auto range = make_object<RangeObject>(0, start, stop, step);
  constexpr int64_t kRangeMax = 100000;  // Jinja's own sandbox.
  if (range->size() > kRangeMax)
    raise("OverflowError: Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
          kRangeMax);
  return Value(std::shared_ptr<Object>(std::move(range)));
}

// What dict() and namespace() make of their arguments: a mapping or pairs, and names.
std::vector<std::pair<Value, Value>> pairs_of(const char* function, Arguments& arguments) {
  if (arguments.positional.size() > 1)
    raise("TypeError: {} expected at most 1 argument, got {}", function,
          arguments.positional.size());
  std::vector<std::pair<Value, Value>> pairs;
  if (!arguments.positional.empty() && arguments.positional[0].is_dict()) {
    pairs = arguments.positional[0].dict().items;
  } else if (!arguments.positional.empty()) {
    Iterator at(arguments.positional[0]);
    for (Value item; at.next(item);) {
      std::vector<Value> parts = to_vector(item);
      if (parts.size() != 2)
        raise("ValueError: dictionary update sequence element has length {}; 2 is required",
              parts.size());
      pairs.emplace_back(parts[0], parts[1]);
    }
  }
  for (auto& [name, value] : arguments.named) pairs.emplace_back(Value(name), value);
  return pairs;
}

Value call_dict(Context&, Arguments& arguments) { return Value::dict(pairs_of("dict", arguments)); }

Value call_namespace(Context& context, Arguments& arguments) {
  auto space = make_object<NamespaceObject>(64);
  context.keep(space);
  for (auto& [key, value] : pairs_of("namespace", arguments)) {
    if (!key.is_string())
      raise("TypeError: a namespace has only names as keys, not {}", type_name(key));
    space->set(key.text(), value);
  }
  return Value(std::shared_ptr<Object>(std::move(space)));
}

struct Joiner : CallableObject {
  explicit Joiner(std::string separator) : separator(std::move(separator)) {}
  Value call(Context&, Arguments& arguments) override {
    Bound bound("joiner", arguments, {});
    return std::exchange(used, true) ? Value(separator) : Value("");
  }
  std::string type_name() const override { return "Joiner"; }
  std::string repr() const override { return "<Joiner>"; }
  std::string separator;
  bool used = false;
};

Value call_joiner(Context&, Arguments& arguments) {
  Bound bound("joiner", arguments, {"sep"});
  return Value(
      std::shared_ptr<Object>(make_object<Joiner>(0, bound.has(0) ? bound.text(0) : ", ")));
}

struct Cycler : CallableObject {
  explicit Cycler(Value items) : CallableObject(Kind::kObject), items(std::move(items)) {
    depth = this->items.depth() + 1;
  }
  Value call(Context&, Arguments&) override { raise("TypeError: 'Cycler' object is not callable"); }
  std::string type_name() const override { return "Cycler"; }
  std::string repr() const override { return "<Cycler>"; }
  std::optional<Value> attribute(const Value& self, std::string_view name) override;
  const Value& current() const { return items.items()[position]; }
  Value items;
  size_t position = 0;
};

struct CyclerMethod : CallableObject {
  CyclerMethod(Value cycler, bool is_next) : cycler(std::move(cycler)), is_next(is_next) {
    depth = this->cycler.depth() + 1;
  }
  Value call(Context&, Arguments& arguments) override {
    Bound bound("cycler method", arguments, {});
    auto* state = static_cast<Cycler*>(cycler.object());
    if (!is_next) return state->position = 0, Value::none();
    Value item = state->current();
    state->position = (state->position + 1) % state->items.items().size();
    return item;
  }
  std::string type_name() const override { return "method"; }
  std::string repr() const override { return "<method of Cycler>"; }
  Value cycler;
  bool is_next;
};

std::optional<Value> Cycler::attribute(const Value& self, std::string_view name) {
  if (name == "current") return current();
  if (name == "pos") return Value(static_cast<int64_t>(position));
  if (name == "items") return items;
  if (name != "next" && name != "reset") return std::nullopt;
  return Value(std::shared_ptr<Object>(make_object<CyclerMethod>(0, self, name == "next")));
}

Value call_cycler(Context&, Arguments& arguments) {
  if (arguments.positional.empty() || !arguments.named.empty())
    raise("RuntimeError: at least one item has to be provided");
  return Value(std::shared_ptr<Object>(
      make_object<Cycler>(0, Value::tuple(std::move(arguments.positional)))));
}

Value call_raise_exception(Context&, Arguments& arguments) {
  Bound bound("raise_exception", arguments, {"message"}, 1);
  throw TemplateError(str(bound.at(0)));
}

// C's strftime has no %f, and knows a time zone that the template's clock does not have.
std::string portable_format(std::string_view format) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out += format[i];
      continue;
    }
    const char letter = format[++i];
    if (letter == 'f')
      out += "000000";
    else if (letter != 'Z' && letter != 'z')
      out += '%', out += letter;
  }
  return out;
}

Value call_strftime_now(Context& context, Arguments& arguments) {
  Bound bound("strftime_now", arguments, {"format"}, 1);
  // Never empty: 0 then means "too long".
  const std::string format = portable_format(bound.text(0)) + "|";
  std::string out(format.size() * 16 + 256, '\0');
  check_size(static_cast<int64_t>(out.size()));
  const size_t size = std::strftime(out.data(), out.size(), format.c_str(), &context.now());
  if (size == 0) raise("ValueError: strftime_now gives a text that is too long");
  return Value(out.substr(0, size - 1));
}

}  // namespace

void set_globals(Scope& scope) {
  constexpr std::pair<const char*, Function::Body> kFunctions[] = {
      {"range", call_range},
      {"dict", call_dict},
      {"namespace", call_namespace},
      {"joiner", call_joiner},
      {"cycler", call_cycler},
      {"raise_exception", call_raise_exception},
      {"strftime_now", call_strftime_now}};
  for (const auto& [name, body] : kFunctions)
    scope.set(name, Value(std::shared_ptr<Object>(make_object<Function>(0, name, body))));
}

}  // namespace dure::jinja
