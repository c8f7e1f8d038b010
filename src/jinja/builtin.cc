// Parameters by place and by name, as Python binds them.
#include "jinja/builtin.h"

#include <algorithm>

#include "jinja/operators.h"
#include "jinja/python_string.h"

namespace dure::jinja {

Value Builtin::call(Context& context, const Value& self, Arguments& arguments) const {
  return body(self, Bound(context, *this, arguments));
}

Bound::Bound(Context& context, const Builtin& builtin, Arguments& arguments)
    : context_(context), builtin_(builtin), all_(arguments) {
  if (builtin.parameters == "*") return;
  std::array<std::string_view, 4> names;
  size_t count = 0, required_count = 0;
  for (std::string_view rest = builtin.parameters; !rest.empty();) {
    std::string_view name = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    if (name.starts_with('['))
      name = name.substr(1, name.size() - 2);
    else
      ++required_count;
    names[count++] = name;
  }
  bind(arguments, std::span(names).first(count));
  for (size_t i = 0; i < required_count; ++i) {
    if (!has(i)) raise("TypeError: {}() missing a required argument: '{}'", builtin.name, names[i]);
  }
}

void Bound::bind(const Arguments& arguments, std::span<const std::string_view> names) {
  const std::string_view function = builtin_.name;
  const size_t given = arguments.positional.size();
  if (given > names.size())
    raise("TypeError: {}() takes at most {} argument(s), {} given", function, names.size(), given);
  for (size_t i = 0; i < given; ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      raise("TypeError: {}() got an unexpected keyword argument '{}'", function, name);
    const Value*& slot = values_[static_cast<size_t>(found - names.begin())];
    if (slot != nullptr)
      raise("TypeError: {}() got multiple values for argument '{}'", function, name);
    slot = &value;
  }
}

int64_t Bound::integer(size_t i, int64_t otherwise) const {
  return has(i) ? to_int64(*values_[i], fmt::format("{}()", builtin_.name)) : otherwise;
}

const std::string& Bound::text(size_t i) const {
  if (at(i).is_undefined()) raise_undefined(at(i));
  if (!at(i).is_string())
    raise("TypeError: {}() argument {} must be str, not {}", builtin_.name, i + 1,
          type_name(at(i)));
  return at(i).text();
}

std::string Bound::indentation(size_t i, int64_t otherwise) const {
  return has(i) && at(i).is_string() ? at(i).text() : repeated(" ", integer(i, otherwise));
}

const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const Builtin& one) { return one.name == name; });
  return found != table.end() ? &*found : nullptr;
}

void raise_unknown(std::string_view what, std::string_view name) {
  throw TemplateError(fmt::format("No {} named '{}'.", what, name), ErrorCode::kUnsupported);
}

}  // namespace dure::jinja
