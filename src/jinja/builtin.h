// jinja/builtin.h: what the engine brings along: filters, tests, methods and functions, each a row
// of a table.
//
// A row says the name, the parameters and the body. Not here: the tables (filters.cc,
// sequence_filters.cc, tests.cc, methods.cc, globals.cc).
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "jinja/context.h"

namespace dure::jinja {

class Bound;

struct Builtin {
  std::string_view name;
  std::string_view parameters;  // "old new [count]"; those in brackets come last. "*": any.
  Value (*body)(const Value& self, const Bound& arguments);  // `self`: what it is applied to.
  Value call(Context& context, const Value& self, Arguments& arguments) const;
};

// The arguments of a call, by parameter.
class Bound {
 public:
  // Throws TypeError for too many, unknown or double arguments, and for too few.
  Bound(Context& context, const Builtin& builtin, Arguments& arguments);

  bool has(size_t i) const { return values_[i] != nullptr; }
  const Value& at(size_t i) const { return *values_[i]; }  // The caller knows that it is there.
  Value value(size_t i, Value otherwise) const {
    return has(i) ? *values_[i] : std::move(otherwise);
  }
  bool flag(size_t i) const { return has(i) && truth(*values_[i]); }
  int64_t integer(size_t i, int64_t otherwise) const;  // Throws TypeError for what is no integer.
  const std::string& text(size_t i) const;             // Throws TypeError for what is no string.
  // A number of blanks, or the text itself.
  std::string indentation(size_t i, int64_t otherwise) const;
  bool given(size_t i) const { return has(i) && !values_[i]->is_none(); }

  const Arguments& all() const { return all_; }  // As they were passed: of "*".
  Context& context() const { return context_; }

 private:
  void bind(const Arguments& arguments, std::span<const std::string_view> names);

  Context& context_;
  const Builtin& builtin_;
  const Arguments& all_;
  std::array<const Value*, 4> values_ = {};
};

const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name);  // Or null.

const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
std::span<const Builtin> sequence_filters();
Value filter_tojson(const Value& subject, const Bound& arguments);  // to_json.cc
// range, namespace, and transformers' raise_exception and strftime_now become variables.
void set_globals(Scope& scope);

[[noreturn]] void raise_unknown(std::string_view what, std::string_view name);

}  // namespace dure::jinja
