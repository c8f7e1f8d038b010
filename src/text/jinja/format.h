// text/jinja/format.h: Python's two ways to format text: "%s-%05.1f" % (a, b) and
// "{}:{:>5}".format(a, b).
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace dure::jinja {

// `values`: a tuple of the values, a dict for "%(name)s", or the one value.
std::string format_percent(std::string_view format, const Value& values);

std::string format_braces(std::string_view format, const Arguments& arguments);

// "[[fill]align][sign][#][0][width][,][.precision][type]" for one value.
std::string format_value(const Value& value, std::string_view specification);

}  // namespace dure::jinja
