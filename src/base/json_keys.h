// base/json_keys.h: JSON whose objects have every key once, and whose integers are kept.
//
// Owns the stricter reading of what people write by hand: two values of one key are a mistake
// there, and an answer that is rounded is another one. Not here: values, and parse_json(), for
// which the last one counts (json.h).
#pragma once

#include <string_view>

#include "base/json.h"

namespace dure {

// As parse_json(); throws kCorrupt, naming the key, where an object has one twice.
Json parse_json_keys_once(std::string_view text, std::string_view source);
// The same; throws kCorrupt, naming field and number, at an integer that no int64 holds, too.
Json parse_json_exactly(std::string_view text, std::string_view source);

}  // namespace dure
