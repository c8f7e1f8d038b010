// grade/maths_numeric.h: the value of a scalar tree at a point, with a bound on its error.
//
// Evaluates trees and not canonical forms, so that the two check each other. Arithmetic is long
// double (64 bits of mantissa); every operation adds its own rounding to the bound that its
// operands bring. Not here: when two values count as one (maths_compare.h).
#pragma once

#include <complex>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "grade/maths_tree.h"

namespace dure {

struct MathsValue {
  std::complex<long double> value;
  long double error = 0;  // |value - the true value| is at most about this
};

struct MathsPoint {
  std::map<std::string, long double> symbols;
  bool complex_allowed = false;  // else where something on the way is not real, there is no value
  bool plain_log_is_base_10 = false;  // what \log without a base means
};

// Nothing where the tree has no value there: a division by zero, a root that is not real, what is
// no scalar, a number beyond long double.
std::optional<MathsValue> maths_value(const MathsNode& node, const MathsPoint& point);

// The free symbols (not pi, e, i), added to `names`; and what decides where points may lie.
struct MathsSymbols {
  std::set<std::string> names;
  bool has_imaginary = false;
  bool has_plain_log = false;
  void add(const MathsNode& node);
};

}  // namespace dure
