// Parameters by place and by name, as Python binds them.
#include "jinja/arguments.h"

#include <algorithm>

#include "jinja/operators.h"

namespace dure::jinja {

Bound::Bound(const char* function, Arguments& arguments, std::initializer_list<const char*> names,
             size_t required_count)
    : function_(function), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names.size()) {
    raise("TypeError: {}() takes at most {} argument(s), {} given", function, names.size(),
          arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find_if(names.begin(), names.end(),
                                    [&key = name](const char* one) { return key == one; });
    if (found == names.end())
      raise("TypeError: {}() got an unexpected keyword argument '{}'", function, name);
    const Value*& slot = values_[static_cast<size_t>(found - names.begin())];
    if (slot != nullptr)
      raise("TypeError: {}() got multiple values for argument '{}'", function, name);
    slot = &value;
  }
  for (size_t i = 0; i < required_count; ++i) {
    if (values_[i] == nullptr)
      raise("TypeError: {}() missing a required argument: '{}'", function, *(names.begin() + i));
  }
}

int64_t Bound::integer(size_t i, int64_t otherwise) const {
  return has(i) ? to_int64(*values_[i], std::string(function_) + "()") : otherwise;
}

const std::string& Bound::text(size_t i) const {
  if (at(i).is_undefined()) raise_undefined(at(i));
  if (!at(i).is_string())
    raise("TypeError: {}() argument {} must be str, not {}", function_, i + 1, type_name(at(i)));
  return at(i).text();
}

}  // namespace dure::jinja
