// jinja/format.h: Python's two ways to format text: "%s-%05.1f" % (a, b) and "{}:{}".format(a, b),
// in the forms that templates use (docs/jinja.md).
//
// Not here: str() and repr() of a value (value.h).
#pragma once

#include <string>
#include <string_view>

#include "jinja/value.h"

namespace dure::jinja {

// `values`: a tuple of the values, or the one value.
std::string format_percent(std::string_view format, const Value& values);

std::string format_braces(std::string_view format, const Arguments& arguments);

}  // namespace dure::jinja
