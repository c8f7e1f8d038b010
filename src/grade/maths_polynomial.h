// grade/maths_polynomial.h: sums of products of atoms with rational exponents, and their quotients.
//
// Owns MathsExponent, MathsMonomial, MathsPolynomial, MathsQuotient and their plain arithmetic. An
// atom is a number here; what atoms are, and which of their powers simplify, is
// maths_canonical.cc's.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "grade/maths_number.h"

namespace dure {

// A fraction of machine integers; throws MathsGivenUp where they overflow.
struct MathsExponent {
  int64_t top = 0, bottom = 1;  // lowest terms, bottom > 0

  static MathsExponent of(int64_t top, int64_t bottom = 1);
  bool is_zero() const { return top == 0; }
  bool is_integer() const { return bottom == 1; }
  int64_t floor() const { return top >= 0 ? top / bottom : -((-top + bottom - 1) / bottom); }
  MathsExponent operator+(MathsExponent other) const;
  MathsExponent operator*(MathsExponent other) const;
  MathsExponent operator-() const { return {-top, bottom}; }
  bool operator==(const MathsExponent&) const = default;
  std::strong_ordering operator<=>(const MathsExponent& other) const = default;  // any order
  std::string text() const;
};

using MathsMonomial = std::vector<std::pair<int, MathsExponent>>;  // by atom; no exponent is 0
using MathsPolynomial = std::map<MathsMonomial, Rational>;         // no coefficient is 0

constexpr size_t kTermsMax = 2000;

void add_term(MathsPolynomial& sum, const MathsMonomial& monomial, const Rational& coefficient);
MathsPolynomial sum_of(const MathsPolynomial& a, const MathsPolynomial& b);
MathsPolynomial scaled(const MathsPolynomial& a, const Rational& by);
// The product of powers, without any simplification.
MathsMonomial product_of(const MathsMonomial& a, const MathsMonomial& b);
std::string key_of(const MathsMonomial& monomial);
std::string key_of(const MathsPolynomial& polynomial);
// The positive rational c for which polynomial / c has whole coefficients without common factor.
Rational content_of(const MathsPolynomial& polynomial);

struct MathsQuotient {
  MathsPolynomial top;
  MathsPolynomial bottom = {{{}, Rational(1)}};

  static MathsQuotient of(const Rational& value);
  bool is_zero() const { return top.empty(); }
  bool is_whole() const;                     // the bottom is 1
  std::optional<Rational> constant() const;  // a rational number, where it is one
};

}  // namespace dure
