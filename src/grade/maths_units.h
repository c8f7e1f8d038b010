// grade/maths_units.h: what is written around a quantity: per cent, degrees, units, currencies.
//
// Not here: what they mean for equality (maths_compare.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "grade/maths_lexer.h"
#include "grade/maths_tree.h"

namespace dure {

// The name that stands for pi / 180 in the angle of a function.
constexpr const char* kMathsDegree = "degree";

// Takes them out of `tokens` and says which they were. Throws MathsGivenUp where words are left.
MathsUnits take_maths_units(std::vector<MathsToken>& tokens);

// "60 km/h": `text` without a unit that is a quotient in plain letters, which goes to `unit`.
std::string_view without_compound_unit(std::string_view text, std::string& unit);

}  // namespace dure
