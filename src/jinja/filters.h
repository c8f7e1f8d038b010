// jinja/filters.h: filters and tests by name. docs/jinja.md lists them.
//
// Filters on one value are in filters.cc, those over sequences in sequence_filters.cc, tests in
// tests.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace dure::jinja {

using FilterFunction = Value (*)(const Value& subject, Arguments& arguments);
using TestFunction = bool (*)(const Value& subject, Arguments& arguments);

FilterFunction find_filter(std::string_view name);  // Null: there is none.
TestFunction find_test(std::string_view name);

struct FilterEntry {
  std::string_view name;
  FilterFunction function;
};
std::span<const FilterEntry> sequence_filters();

[[noreturn]] void raise_unknown(std::string_view what, std::string_view name);

}  // namespace dure::jinja
