// jinja/loop.h: {% for %}: what is walked, what the body sees as `loop`, and loops inside one
// another.
#pragma once

#include "jinja/context.h"

namespace dure::jinja {

struct ForLoop {
  Target target;
  ExprPtr iterable, condition;  // No condition: null.
  bool recursive = false;
  Block body, otherwise;
};

void run_loop(Context& context, const ForLoop& loop);

}  // namespace dure::jinja
