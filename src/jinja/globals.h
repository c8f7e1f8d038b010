// jinja/globals.h: the functions that every template finds: range, namespace, and
// transformers' raise_exception and strftime_now.
#pragma once

#include "jinja/context.h"

namespace dure::jinja {

void set_globals(Scope& scope);

}  // namespace dure::jinja
