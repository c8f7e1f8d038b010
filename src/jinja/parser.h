// jinja/parser.h: tokens into a tree (ast.h). Throws TemplateError with the line.
#pragma once

#include <string_view>

#include "jinja/ast.h"

namespace dure::jinja {

Block parse_template(std::string_view source);

}  // namespace dure::jinja
