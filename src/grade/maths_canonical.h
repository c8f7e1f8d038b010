// grade/maths_canonical.h: scalar expressions as quotients of sums of products of "atoms", so that
// equality of what is algebraic can be proven.
//
// An atom is a symbol, pi, e, the imaginary unit, a prime (with an exponent below 1: a radical), a
// sum under a root, a power with a symbolic exponent, or a function of a canonical argument.
// Products of radicals of different primes are linearly independent over the rationals (Besicovitch
// 1940), so that of two forms without other atoms than primes and the imaginary unit, different
// means unequal. Not here: floating point (maths_numeric.h), what is no scalar (maths_compare.h).
//
// Conventions: odd roots of negative numbers are real; identities hold where both sides are
// defined; what stands in exponents is taken for an integer where it must be. Limits: kTermsMax
// terms, and MathsEffort's steps; beyond them, and for what has no form (a division by zero, a
// matrix), MathsGivenUp is thrown.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "grade/maths_tree.h"

namespace dure {

// Atoms and forms of one comparison: both sides must come from the same algebra.
class MathsAlgebra {
 public:
  MathsAlgebra();
  ~MathsAlgebra();

  enum class Equality { kEqual, kUnequal, kNotShown };
  // kUnequal only where it is proven (see above).
  Equality compare(const MathsNode& a, const MathsNode& b);
  // Whether a = c b for some rational c that is not zero, as equations "a = 0" and "b = 0" want.
  bool proportional(const MathsNode& a, const MathsNode& b);
  // A sum of rational multiples of symbols, and a rational number.
  bool is_linear(const MathsNode& node);

 private:
  class Forms;
  std::unique_ptr<Forms> forms_;
};

}  // namespace dure
