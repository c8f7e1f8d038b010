// jinja/arguments.h: binds what a template passes to the parameters of a built-in function.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/value.h"

namespace dure::jinja {

class Bound {
 public:
  // Throws TypeError for too many, unknown or double arguments, and for fewer than
  // `required_count`.
  Bound(const char* function, Arguments& arguments, std::initializer_list<const char*> names,
        size_t required_count = 0);

  bool has(size_t i) const { return values_[i] != nullptr; }
  const Value& at(size_t i) const { return *values_[i]; }  // The caller knows that it is there.
  Value value(size_t i, Value otherwise) const {
    return has(i) ? *values_[i] : std::move(otherwise);
  }
  bool flag(size_t i, bool otherwise) const { return has(i) ? truth(*values_[i]) : otherwise; }
  int64_t integer(size_t i, int64_t otherwise) const;  // Throws TypeError for what is no integer.
  const std::string& text(size_t i) const;             // Throws TypeError for what is no string.
  bool given(size_t i) const { return has(i) && !values_[i]->is_none(); }

 private:
  const char* function_;
  std::vector<const Value*> values_;
};

}  // namespace dure::jinja
