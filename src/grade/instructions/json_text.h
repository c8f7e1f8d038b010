// grade/instructions/json_text.h: whether a text is what Python's json.loads reads.
//
// That is JSON of any depth and size, and NaN, Infinity, -Infinity; lone surrogates may be escaped,
// control characters may not stand in strings. Not here: values (base/json.h).
#pragma once

#include "grade/instructions/characters.h"

namespace dure::instructions {

// Beyond this depth Python gives up with another error, and the text counts as none.
constexpr size_t kJsonDepthMax = 990;

bool is_json_text(CharsView text);

}  // namespace dure::instructions
