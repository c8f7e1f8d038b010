// grade/maths_forms.h: the arithmetic of quotients whose atoms simplify: radicals, i, sines.
//
// Owns the atoms of one comparison and what their powers become. Not here: which form a tree has
// (maths_canonical.cc), plain sums and products (maths_polynomial.h).
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "grade/maths_polynomial.h"

namespace dure {

enum class MathsAtomKind {
  kPrime,      // a positive integer; exponents in (0, 1)
  kImaginary,  // exponent 1
  kConstant,   // pi, e
  kSymbol,
  kSum,       // `base` under a root: exponents in (0, 1)
  kPower,     // another atom (`of`), or -1 (`of` < 0), to the power of `monomial`
  kSine,      // of `base`; exponent 1 or negative
  kFunction,  // anything else of canonical arguments
};

struct MathsAtom {
  MathsAtomKind kind = MathsAtomKind::kSymbol;
  std::string key;
  bool positive = false;
  bool certain_prime = false;
  BigInt prime;
  MathsQuotient base;
  int of = -1;
  MathsMonomial monomial;
};

class MathsForms {
 public:
  int atom(MathsAtom atom);  // by its key: the same atom is made once
  const MathsAtom& atom_of(int id) const { return atoms_[static_cast<size_t>(id)]; }
  int prime(const BigInt& value, bool certain);
  int symbol(const std::string& name);
  int constant(const std::string& name);
  int imaginary();
  int cosine(const MathsQuotient& argument);
  int function(const std::string& name, const std::vector<MathsQuotient>& arguments);

  MathsQuotient power_of_atom(int id, MathsExponent exponent = {1, 1});
  MathsQuotient add(const MathsQuotient& a, const MathsQuotient& b);
  MathsQuotient subtract(const MathsQuotient& a, const MathsQuotient& b);
  MathsQuotient multiply(const MathsQuotient& a, const MathsQuotient& b);
  MathsQuotient divide(const MathsQuotient& a, const MathsQuotient& b);
  MathsQuotient scale(const MathsQuotient& a, const Rational& by);
  MathsQuotient integer_power(const MathsQuotient& a, int64_t n);
  MathsQuotient rational_power(const MathsQuotient& a, MathsExponent exponent);
  // `exponent` is no rational number.
  MathsQuotient symbolic_power(const MathsQuotient& a, const MathsQuotient& exponent);

  static std::string key(const MathsQuotient& a);

 private:
  MathsQuotient simplified(const MathsMonomial& raw, const Rational& coefficient);
  MathsQuotient product(const MathsPolynomial& a, const MathsPolynomial& b);
  MathsQuotient normal(MathsPolynomial top, MathsPolynomial bottom);
  MathsQuotient root_of_rational(const Rational& value, MathsExponent exponent);
  MathsQuotient root_of_term(const MathsMonomial& monomial, const Rational& coefficient,
                             MathsExponent exponent);
  MathsQuotient root_of_sum(const MathsQuotient& a, MathsExponent exponent);
  std::optional<MathsQuotient> denested(const MathsPolynomial& a);
  MathsQuotient power_of_base(int base_atom, MathsExponent base_exponent,
                              const MathsQuotient& exponent);

  std::deque<MathsAtom> atoms_;  // references stay good
  std::map<std::string, int> ids_;
  int depth_ = 0;
};

}  // namespace dure
