// jinja/macro.h: {% macro %} and the body of {% call %}: parameters bound, the body's text
// returned.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "jinja/context.h"

namespace dure::jinja {

struct Macro {
  std::string name;  // "caller": the body of a {% call %}.
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // Of the last parameters.
  bool uses_caller = false;
  Block body;
};

// As it is called: `macro` in the scope of now.
Value make_macro(Context& context, std::shared_ptr<const Macro> macro);

}  // namespace dure::jinja
