// cli/token_ids.h: token ids that a user wrote, as `score` and `tokenizer decode` read them.
//
// A JSON list, a list of lists (rows), or numbers with spaces or commas between them; anything else
// is an Error kInvalidArgument that says where. Not here: whether a vocabulary has them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dure {

using IdRows = std::vector<std::vector<int32_t>>;

// `where` reads like "ids.json" or "standard input:3".
std::vector<int32_t> parse_id_row(const std::string& text, const std::string& where);
IdRows parse_id_rows(const std::string& text, const std::string& where);

}  // namespace dure
