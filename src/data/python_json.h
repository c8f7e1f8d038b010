// data/python_json.h: a line that Python's json module writes and reads, and JSON does not allow.
//
// json.dumps() writes NaN, Infinity, integers of any length and halves of surrogate pairs, so files
// of records have them. Not here: parsing (jsonl.h), small files of settings (base/json.h), where
// such values are refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dure {

// `line` as strict JSON: NaN and what is beyond a double become null, longer integers decimals,
// a half of a surrogate pair U+FFFD. Nothing where it has none of these.
std::optional<std::string> strict_json(std::string_view line);

}  // namespace dure
