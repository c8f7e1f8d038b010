// text/jinja/filters.h: filters and tests by name. docs/jinja.md lists them.
#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace dure::jinja {

FilterFunction find_filter(std::string_view name);  // Null: there is none.
TestFunction find_test(std::string_view name);

}  // namespace dure::jinja
