// base/toml.h: TOML 1.0 as a Json value.
//
// Tables are objects with their keys in order, arrays of tables lists of objects; dates and times
// are texts as they stand in the file. Not checked: that a table was written inline, and then is
// added to. Not here: what the values mean, writing TOML. Source: toml.io, v1.0.0.
#pragma once

#include <string_view>

#include "base/json.h"

namespace dure {

// `source` names the text in errors. Throws kCorrupt with the line and what was expected there: a
// key or table that comes twice among it. Depth is limited to 64.
Json parse_toml(std::string_view text, std::string_view source);
Json load_toml(const Path& path);

}  // namespace dure
