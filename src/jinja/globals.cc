// Jinja's own functions, those of them that templates call, and the two that transformers adds.
#include "jinja/builtin.h"

namespace dure::jinja {
namespace {

struct Function : CallableObject {
  explicit Function(const Builtin& builtin) : builtin(builtin) {}
  Value call(Context& context, Arguments& arguments) override {
    return builtin.call(context, Value(), arguments);
  }
  std::string type_name() const override { return "function"; }
  const Builtin& builtin;
};

Value call_range(const Value&, const Bound& arguments) {
  constexpr int64_t kRangeMax = 100000;  // Jinja's own sandbox.
  const int64_t first = arguments.integer(0, 0);
  const int64_t start = arguments.has(1) ? first : 0,
                stop = arguments.has(1) ? arguments.integer(1, 0) : first,
                step = arguments.integer(2, 1);
  if (step == 0) raise("ValueError: range() arg 3 must not be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
    items.emplace_back(i);
    if (static_cast<int64_t>(items.size()) > kRangeMax)
      raise("OverflowError: Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
            kRangeMax);
  }
  return Value::sequence(Kind::kRange, std::move(items), "range");
}

Value call_namespace(const Value&, const Bound& arguments) {
  if (!arguments.all().positional.empty()) raise("namespace() of a mapping is not supported");
  auto space = make_object<NamespaceObject>(64);
  arguments.context().keep(space);
  for (const auto& [name, value] : arguments.all().named) space->set(name, value);
  return Value(std::move(space));
}

// dict(a=1), dict(mapping), dict(mapping, a=1).
Value call_dict(const Value&, const Bound& arguments) {
  const Arguments& all = arguments.all();
  if (all.positional.size() > 1 || (!all.positional.empty() && !all.positional[0].is_dict()))
    raise("dict() of something else than a mapping and names is not supported");
  std::vector<std::pair<Value, Value>> items;
  if (!all.positional.empty()) items = all.positional[0].dict().items;
  for (const auto& [name, value] : all.named) items.emplace_back(Value(name), value);
  return Value::dict(std::move(items));
}

Value call_raise_exception(const Value&, const Bound& arguments) {
  throw TemplateError(str(arguments.at(0)));
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
      out += {'%', letter};
  }
  return out;
}

Value call_strftime_now(const Value&, const Bound& arguments) {
  // Never empty: 0 then means "too long".
  const std::string format = portable_format(arguments.text(0)) + "|";
  std::string out(format.size() * 16 + 256, '\0');
  check_size(static_cast<int64_t>(out.size()));
  const size_t size =
      std::strftime(out.data(), out.size(), format.c_str(), &arguments.context().now());
  if (size == 0) raise("ValueError: strftime_now gives a text that is too long");
  return Value(out.substr(0, size - 1));
}

constexpr Builtin kFunctions[] = {
    {"range", "start [stop] [step]", call_range},
    {"namespace", "*", call_namespace},
    {"dict", "*", call_dict},
    {"raise_exception", "message", call_raise_exception},
    {"strftime_now", "format", call_strftime_now},
};

}  // namespace

void set_globals(Scope& scope) {
  for (const Builtin& one : kFunctions) scope.set(one.name, Value(make_object<Function>(0, one)));
}

}  // namespace dure::jinja
