// base/toml.h: TOML 1.0 as a Json value.
//
// Tables are objects, their keys in alphabetical order; arrays of tables lists of objects; dates and
// times texts in ISO 8601's form. Reading is toml++'s, in toml.cc alone. Not here: what the values
// mean, writing TOML. Source: toml.io, v1.0.0.
#pragma once

#include <string_view>

#include "base/json.h"

namespace dure {

// `source` names the text in errors. Throws kCorrupt with the line and what was expected there. Depth
// is limited to 256.
Json parse_toml(std::string_view text, std::string_view source);
Json load_toml(const Path& path);

}  // namespace dure
