// suite/own_rows.h: what a row of a user's own items must be (docs/evaluation.md, "Own questions").
//
// Owns the refusals, so that no row is asked or graded as something else than was meant. Not here:
// the templates that make items of rows (suite.cc), graders' own checks (grade/).
#pragma once

#include <string>

#include "base/json.h"

namespace dure {

// Throws kInvalidArgument, naming `where` ("FILE: row 3"): neither prompt nor messages, both, or
// one that asks nothing; several of answer, answers and reference, or a misspelt one of them.
void check_own_row(const Json& row, const std::string& where);

}  // namespace dure
