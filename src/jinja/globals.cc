// Jinja's own functions, those of them that templates call, and the two that transformers adds.
#include "jinja/globals.h"

#include "jinja/arguments.h"

namespace dure::jinja {
namespace {

struct Function : CallableObject {
  using Body = Value (*)(Context& context, Arguments& arguments);
  explicit Function(Body body) : body(body) {}
  Value call(Context& context, Arguments& arguments) override { return body(context, arguments); }
  std::string type_name() const override { return "function"; }
  Body body;
};

Value call_range(Context&, Arguments& arguments) {
  constexpr int64_t kRangeMax = 100000;  // Jinja's own sandbox.
  Bound bound("range", arguments, {"start", "stop", "step"}, 1);
  const int64_t first = bound.integer(0, 0);
  const int64_t start = bound.has(1) ? first : 0, stop = bound.has(1) ? bound.integer(1, 0) : first,
                step = bound.integer(2, 1);
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

Value call_namespace(Context& context, Arguments& arguments) {
  if (!arguments.positional.empty()) raise("namespace() of a mapping is not supported");
  auto space = make_object<NamespaceObject>(64);
  context.keep(space);
  for (const auto& [name, value] : arguments.named) space->set(name, value);
  return Value(std::move(space));
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
      out += {'%', letter};
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
      {"namespace", call_namespace},
      {"raise_exception", call_raise_exception},
      {"strftime_now", call_strftime_now}};
  for (const auto& [name, body] : kFunctions)
    scope.set(name, Value(make_object<Function>(0, body)));
}

}  // namespace dure::jinja
