// data/json_rows.h: the rows of a JSONL file, or of a .json list, as JSON texts.
//
// For readers that know their own forms (preferences, views of them). Not here: records of corpora
// (jsonl.h), decompression (input.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/file.h"

namespace dure {

// `number`: the line, or the place in the list, from 1. False from `use` ends the reading. Blank
// lines are passed over. Throws as LineReader does, kCorrupt where a list is no JSON,
// kInvalidArgument for a table by its name.
using UseRow = std::function<bool(const std::string& text, int64_t number)>;
void for_each_row(const Path& path, const UseRow& use);

}  // namespace dure
