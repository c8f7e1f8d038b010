// grade/maths_tree.h: an answer as a tree of numbers, symbols, operations and collections.
//
// Owns the node and its parser: LaTeX and plain text, mixed as models mix them. Not here: which
// part of a text is the answer (maths.h), what trees mean (maths_canonical.h, maths_numeric.h),
// when two are equal (maths_compare.h).
//
// Read are: numbers ("58,500" "10{,}080" ".5" "6.7\times10^{-5}" "1e-5" "0.\overline{3}" "52_8"
// "1\frac{4}{5}" "137 1/2"), letters with subscripts, pi e i, + - * / ^ ! %, implicit products,
// \pm, \frac \binom \sqrt[n]{} and their plain forms, |x|, floors, named functions with or without
// brackets, tuples, intervals, sets, unions, differences, matrices, chains of = < > and the like,
// lists. Units and currencies at the ends are taken off and kept apart. What else there is (words,
// conditions, \sum, cases) has no tree: the text alone remains.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grade/maths_number.h"

namespace dure {

enum class MathsKind {
  kNumber,    // number; name: the digits as written where they are of another base ("52_8")
  kSymbol,    // name: "x", "a_{1}", "pi", "e", "i"
  kInfinity,  // its sign is a product by -1
  kAdd,
  kMultiply,
  kDivide,     // top, bottom
  kPower,      // base, exponent
  kRoot,       // radicand, index (a positive integer)
  kFunction,   // name, arguments
  kPlusMinus,  // of one kid; name: "+-" or "-+"
  kTuple,      // name: the brackets, "()", "[]", "(]" or "[)"
  kSet,
  kMatrix,  // rows are kTuples
  kUnion,
  kDifference,  // of two sets
  kRelation,    // name: its sign, = < > <= >= != in; chains are kChains
  kChain,       // of relations that share their ends
  kList,        // between commas; name "or" where alternatives were listed so
  kEllipsis,
};

struct MathsNode {
  MathsKind kind = MathsKind::kNumber;
  std::string name;
  Rational number;
  std::vector<MathsNode> kids;
};

// What was written around the expression and is compared apart from it.
struct MathsUnits {
  bool percent = false;
  bool degrees = false;
  std::string unit;  // "cm^2", "dollars"; lower case
};

struct MathsReading {
  MathsNode tree;
  MathsUnits units;
};

// Where a text may be read in two ways ("1,234" as one number or two, "1/2x" as x/2 or 1/(2x)),
// both; at most four, the likelier first. Empty: it is no mathematics that is known here.
struct MathsReadings {
  std::vector<MathsReading> list;
  std::string why_none;
};
constexpr size_t kMathsTextMax = 4000;  // bytes; what is longer is not read
MathsReadings read_maths(std::string_view text);

// The tree in brackets, for keys, tests and messages: "(+ 1 (* 2 x))".
std::string maths_text(const MathsNode& node);

}  // namespace dure
