// base/json_keys.h: JSON whose objects have every key once.
//
// Owns the stricter reading of what people write by hand: two values of one key are a mistake there.
// Not here: values, and parse_json(), for which the last one counts (json.h).
#pragma once

#include <string_view>

#include "base/json.h"

namespace dure {

// As parse_json(); throws kCorrupt, naming the key, where an object has one twice.
Json parse_json_keys_once(std::string_view text, std::string_view source);

}  // namespace dure
