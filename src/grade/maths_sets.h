// grade/maths_sets.h: sets of real numbers as intervals and points, and what trees say of them.
//
// Owns MathsPieces and its reading from unions, differences, inequalities and pairs. Bounds are
// trees: ordering them is by value. Not here: whether two bounds are equal (maths_compare.cc).
#pragma once

#include <optional>
#include <vector>

#include "grade/maths_tree.h"

namespace dure {

struct MathsPiece {
  MathsNode low, high;  // kInfinity, or -1 times it, where unbounded
  bool low_closed = false, high_closed = false;
  long double low_value = 0, high_value = 0;
  bool is_point() const { return low_closed && high_closed && low_value == high_value; }
};

// From low to high, disjoint; pieces that touch are one.
using MathsPieces = std::vector<MathsPiece>;

// The set that `node` says, where it is one: an interval, a union or difference of sets, a finite
// set in one of those, an inequality or chain of two in one symbol, alternatives of them, the
// reals. A pair in round brackets counts as an interval here. Throws MathsGivenUp where a bound has
// no value.
std::optional<MathsPieces> maths_pieces(const MathsNode& node);

// 1 or -1 for infinities, 0 for what is none.
int infinity_sign(const MathsNode& node);

}  // namespace dure
