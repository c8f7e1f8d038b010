// grade/maths_compare.h: whether two answers of mathematics are the same.
//
// The rule. Right: the two texts are identical, or their canonical forms are equal and no
// evaluation contradicts (`kEqual`); or neither is proven, but both are closed forms of the
// functions known here and agree numerically (`kNumeric`): constants to 1e-12 of their size with an
// error bound below 1e-9, expressions with symbols so at eight or more fixed points. Wrong
// (`kDifferent`): the canonical forms are linearly independent, or two values lie further apart
// than their error bounds (for symbols: at whole positive points, where there are any), or kinds or
// counts differ. All else is `kUnknown`: cannot tell.
//
// Conventions, each tested in maths_test.cc:
//   - decimals are exact: 0.5 is 1/2, 0.333 is not 1/3, 3.14 is not pi
//   - "x = 5" is 5, "x \in S" is S, where the left side is a name; two equations that are no such
//     definitions are compared up to a factor; x > 3 is (3, oo)
//   - lists and sets are unordered; a list with repeated elements is a sequence: another order of
//   it
//     cannot be told; tuples, vectors and matrices are ordered; a list may stand for a tuple
//   - brackets of pairs count ("(1, 2)" is a point or an open interval, and never "[1, 2]"); those
//   of
//     longer tuples do not; a column or row is a tuple
//   - 50% is 50 and 0.5; 90 degrees is 90 and pi/2; a unit or currency that one side leaves out is
//     ignored, two different ones cannot be told; a base that one side leaves out likewise, if the
//     digits agree
//   - words are compared without case, brackets and full stops; one word against another is wrong,
//     longer texts that differ cannot be told
//   - what may be read in two ways is right where one reading is
// Not here: finding the answer in a text (maths.h).
#pragma once

#include <string>
#include <string_view>

namespace dure {

enum class MathsVerdict { kEqual, kNumeric, kUnknown, kDifferent };

struct MathsComparison {
  MathsVerdict verdict = MathsVerdict::kUnknown;
  std::string why;  // of what is neither equal nor different, for a person
};

// Any bytes; ends after a bounded number of steps, whatever they are.
MathsComparison compare_maths(std::string_view reference, std::string_view answer);

}  // namespace dure
