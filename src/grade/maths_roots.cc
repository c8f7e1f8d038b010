// Powers with exponents that are no integers: what can leave a root does, the rest becomes an atom.
#include <cmath>

#include "grade/maths_forms.h"

namespace dure {
namespace {

constexpr int64_t kRootMax = 1000;

bool has_odd_bottom(MathsExponent exponent) { return exponent.bottom % 2 != 0; }

}  // namespace

// value > 0.
MathsQuotient MathsForms::root_of_rational(const Rational& value, MathsExponent exponent) {
  MathsQuotient out = MathsQuotient::of(1);
  for (const auto& [side, sign] : {std::pair{value.top(), 1}, {value.bottom(), -1}}) {
    if (side.is_one()) continue;
    for (const PrimePower& factor : factors_of(side)) {
      // Trial division up to 10^6 leaves primes below 10^12, where it was complete.
      const bool certain = factor.base.bit_count() < 39;
      const MathsExponent power = MathsExponent::of(sign * factor.exponent) * exponent;
      out = multiply(out, power_of_atom(prime(factor.base, certain), power));
    }
  }
  return out;
}

// The root of c * m: positive factors leave it, and so do those that the root makes positive.
MathsQuotient MathsForms::root_of_term(const MathsMonomial& monomial, const Rational& coefficient,
                                       MathsExponent exponent) {
  const bool odd = has_odd_bottom(exponent);
  MathsQuotient out =
      root_of_rational(coefficient.is_negative() ? -coefficient : coefficient, exponent);
  MathsMonomial rest;
  for (const auto& [id, power] : monomial) {
    // x^(1/2) under a root says that x is not negative.
    if (atom_of(id).positive || odd || !power.is_integer()) {
      out = multiply(out, power_of_atom(id, power * exponent));
    } else {
      rest.emplace_back(id, power);
    }
  }
  const bool negative = coefficient.is_negative();
  if (negative && odd && exponent.top % 2 != 0) out = scale(out, Rational(-1));
  const bool keeps_sign = negative && !odd;
  if (rest.empty() && !keeps_sign) return out;
  if (rest.empty()) {
    if (exponent.bottom != 2) throw MathsGivenUp{"an even root of a negative number"};
    return multiply(out, power_of_atom(imaginary(), {exponent.top, 1}));
  }
  const bool is_i = rest.size() == 1 && atom_of(rest[0].first).kind == MathsAtomKind::kImaginary;
  if (is_i) throw MathsGivenUp{"a root of i"};
  if (rest.size() == 1 && !keeps_sign &&
      (rest[0].second == MathsExponent{1, 1} || rest[0].second == MathsExponent{-1, 1}))
    return multiply(out, power_of_atom(rest[0].first, rest[0].second * exponent));
  MathsQuotient base;
  add_term(base.top, rest, Rational(keeps_sign ? -1 : 1));
  const int id = atom({.kind = MathsAtomKind::kSum, .key = "b" + key(base), .base = base});
  return multiply(out, power_of_atom(id, exponent));
}

// sqrt(a + b sqrt d) = sqrt((a+r)/2) +- sqrt((a-r)/2) where r = sqrt(a^2 - b^2 d) is rational, a >
// 0.
std::optional<MathsQuotient> MathsForms::denested(const MathsPolynomial& sum) {
  if (sum.size() != 2 || !sum.begin()->first.empty()) return std::nullopt;
  const Rational a = sum.begin()->second;
  const auto& [monomial, b] = *std::next(sum.begin());
  Rational squared = b * b;
  for (const auto& [id, exponent] : monomial) {
    if (atom_of(id).kind != MathsAtomKind::kPrime || exponent != MathsExponent{1, 2})
      return std::nullopt;
    squared = squared * Rational(atom_of(id).prime, BigInt(1));
  }
  const Rational discriminant = a * a - squared;
  if (a.is_negative() || discriminant.is_negative()) return std::nullopt;
  const auto top = discriminant.top().exact_root(2), bottom = discriminant.bottom().exact_root(2);
  if (!top || !bottom) return std::nullopt;
  const Rational r(*top, *bottom), half(BigInt(1), BigInt(2));
  const auto root = [&](const Rational& value) {
    return value.is_zero() ? MathsQuotient() : root_of_rational(value, {1, 2});
  };
  const MathsQuotient large = root((a + r) * half), small = root((a - r) * half);
  return b.is_negative() ? subtract(large, small) : add(large, small);
}

MathsQuotient MathsForms::root_of_sum(const MathsQuotient& a, MathsExponent exponent) {
  const bool odd = has_odd_bottom(exponent);
  Rational content(1);
  MathsQuotient base = a;
  if (a.is_whole()) {
    content = content_of(a.top);
    base = scale(a, content.inverse());
  }
  bool negative = false;
  if (odd && base.top.begin()->second.is_negative()) {
    base = scale(base, Rational(-1));
    negative = exponent.top % 2 != 0;
  }
  MathsQuotient out = root_of_rational(content, exponent);
  if (negative) out = scale(out, Rational(-1));
  if (exponent.bottom == 2 && base.is_whole()) {
    if (const auto simple = denested(base.top))
      return multiply(out, integer_power(*simple, exponent.top));
  }
  const int id = atom({.kind = MathsAtomKind::kSum, .key = "b" + key(base), .base = base});
  return multiply(out, power_of_atom(id, exponent));
}

MathsQuotient MathsForms::rational_power(const MathsQuotient& a, MathsExponent exponent) {
  if (exponent.is_integer()) return integer_power(a, exponent.top);
  if (exponent.bottom > kRootMax) throw MathsGivenUp{"a root's index is too large"};
  if (a.is_zero()) {
    if (exponent.top < 0) throw MathsGivenUp{"a division by zero"};
    return a;
  }
  if (a.is_whole() && a.top.size() == 1)
    return root_of_term(a.top.begin()->first, a.top.begin()->second, exponent);
  return root_of_sum(a, exponent);
}

// (b^e)^E for an atom b: each term c m of E gives (b^m)^(e c).
MathsQuotient MathsForms::power_of_base(int base, MathsExponent base_exponent,
                                        const MathsQuotient& exponent) {
  MathsQuotient out = MathsQuotient::of(1);
  for (const auto& [monomial, coefficient] : exponent.top) {
    const auto top = coefficient.top().to_int64(), bottom = coefficient.bottom().to_int64();
    if (!top || !bottom) throw MathsGivenUp{"an exponent is too large"};
    const MathsExponent factor = MathsExponent::of(*top, *bottom) * base_exponent;
    if (monomial.empty()) {
      out = multiply(out, rational_power(power_of_atom(base), factor));
      continue;
    }
    int of = base;
    MathsMonomial power = monomial;
    if (atom_of(base).kind == MathsAtomKind::kPower) {  // (b^m)^n = b^(m n)
      power = product_of(atom_of(base).monomial, monomial);
      of = atom_of(base).of;
    }
    MathsAtom made{.kind = MathsAtomKind::kPower,
                   .key = "w" + std::to_string(of) + "^" + key_of(power),
                   .positive = atom_of(base).positive,
                   .of = of,
                   .monomial = power};
    out = multiply(out, power_of_atom(atom(std::move(made)), factor));
  }
  return out;
}

MathsQuotient MathsForms::symbolic_power(const MathsQuotient& a, const MathsQuotient& exponent) {
  if (!exponent.is_whole()) {
    const int id = function("power", {a, exponent});
    return power_of_atom(id);
  }
  if (a.is_zero()) throw MathsGivenUp{"a power of zero"};
  if (!a.is_whole() || a.top.size() != 1) {
    // A sum: one atom stands for it.
    const int base = atom({.kind = MathsAtomKind::kFunction, .key = "q" + key(a), .base = a});
    MathsQuotient constant, rest;
    for (const auto& [monomial, coefficient] : exponent.top)
      add_term(monomial.empty() ? constant.top : rest.top, monomial, coefficient);
    MathsQuotient out = power_of_base(base, {1, 1}, rest);
    if (constant.is_zero()) return out;
    const auto whole_part = constant.constant()->to_int64();
    if (!whole_part) throw MathsGivenUp{"a broken power of a sum"};
    return multiply(out, integer_power(a, *whole_part));
  }
  const auto& [monomial, coefficient] = *a.top.begin();
  MathsQuotient out = MathsQuotient::of(1);
  if (coefficient.is_negative())
    out = power_of_atom(function("power", {MathsQuotient::of(-1), exponent}));
  for (const auto& [side, sign] : {std::pair{coefficient.top(), 1}, {coefficient.bottom(), -1}}) {
    if (side.abs().is_one()) continue;
    for (const PrimePower& factor : factors_of(side)) {
      const bool certain = factor.base.bit_count() < 39;
      out = multiply(out, power_of_base(prime(factor.base, certain),
                                        MathsExponent::of(sign * factor.exponent), exponent));
    }
  }
  for (const auto& [id, power] : monomial) out = multiply(out, power_of_base(id, power, exponent));
  return out;
}

}  // namespace dure
