// grade/maths_scalars.h: whether two scalars are the same, by the rule of maths_compare.h.
//
// Not here: their forms (maths_canonical.h), their values (maths_numeric.h).
#pragma once

#include "grade/maths_canonical.h"
#include "grade/maths_compare.h"

namespace dure {

// Throws MathsGivenUp where the steps of an outer MathsEffort are used up.
MathsVerdict compare_scalars(MathsAlgebra& algebra, const MathsNode& a, const MathsNode& b);

}  // namespace dure
