// text/jinja/globals.h: the functions that every template finds: range, dict, namespace, cycler,
// joiner, and transformers' raise_exception and strftime_now.
#pragma once

#include "text/jinja/context.h"

namespace dure::jinja {

void set_globals(Scope& scope);

}  // namespace dure::jinja
