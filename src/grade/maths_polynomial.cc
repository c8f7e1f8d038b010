// Maps from monomials to coefficients; every operation is charged.
#include "grade/maths_polynomial.h"

#include <limits>

namespace dure {
namespace {

int64_t checked(int64_t value) {
  if (value > std::numeric_limits<int32_t>::max() || value < std::numeric_limits<int32_t>::min())
    throw MathsGivenUp{"an exponent is too large"};
  return value;
}

}  // namespace

MathsExponent MathsExponent::of(int64_t top, int64_t bottom) {
  const int64_t common = std::gcd(top, bottom);
  if (bottom < 0) return {checked(-(top / common)), checked(-(bottom / common))};
  return {checked(top / common), checked(bottom / common)};
}

MathsExponent MathsExponent::operator+(MathsExponent other) const {
  return of(top * other.bottom + other.top * bottom, bottom * other.bottom);
}
MathsExponent MathsExponent::operator*(MathsExponent other) const {
  return of(top * other.top, bottom * other.bottom);
}

std::string MathsExponent::text() const {
  return std::to_string(top) + (bottom == 1 ? "" : "/" + std::to_string(bottom));
}

void add_term(MathsPolynomial& sum, const MathsMonomial& monomial, const Rational& coefficient) {
  if (coefficient.is_zero()) return;
  MathsEffort::charge(4 + static_cast<int64_t>(monomial.size()));
  const auto [at, is_new] = sum.try_emplace(monomial, coefficient);
  if (is_new) {
    if (sum.size() > kTermsMax) throw MathsGivenUp{"there are too many terms"};
    return;
  }
  at->second = at->second + coefficient;
  if (at->second.is_zero()) sum.erase(at);
}

MathsPolynomial sum_of(const MathsPolynomial& a, const MathsPolynomial& b) {
  MathsPolynomial out = a;
  for (const auto& [monomial, coefficient] : b) add_term(out, monomial, coefficient);
  return out;
}

MathsPolynomial scaled(const MathsPolynomial& a, const Rational& by) {
  MathsPolynomial out;
  for (const auto& [monomial, coefficient] : a) add_term(out, monomial, coefficient * by);
  return out;
}

MathsMonomial product_of(const MathsMonomial& a, const MathsMonomial& b) {
  MathsMonomial out;
  out.reserve(a.size() + b.size());
  MathsEffort::charge(static_cast<int64_t>(a.size() + b.size()) + 1);
  for (auto i = a.begin(), j = b.begin(); i != a.end() || j != b.end();) {
    if (j == b.end() || (i != a.end() && i->first < j->first)) {
      out.push_back(*i++);
    } else if (i == a.end() || j->first < i->first) {
      out.push_back(*j++);
    } else {
      const MathsExponent exponent = i->second + j->second;
      if (!exponent.is_zero()) out.emplace_back(i->first, exponent);
      ++i;
      ++j;
    }
  }
  return out;
}

std::string key_of(const MathsMonomial& monomial) {
  std::string out;
  for (const auto& [atom, exponent] : monomial)
    out += "#" + std::to_string(atom) + "^" + exponent.text();
  return out;
}

std::string key_of(const MathsPolynomial& polynomial) {
  std::string out;
  for (const auto& [monomial, coefficient] : polynomial) {
    out += "+" + coefficient.text() + key_of(monomial);
    MathsEffort::charge(static_cast<int64_t>(out.size()) / 8);
  }
  return out;
}

Rational content_of(const MathsPolynomial& polynomial) {
  BigInt top(0), bottom(1);
  for (const auto& [monomial, coefficient] : polynomial) {
    top = BigInt::gcd(top, coefficient.top());
    const BigInt common = BigInt::gcd(bottom, coefficient.bottom());
    bottom = bottom * coefficient.bottom().divided_by(common).quotient;
  }
  return {std::move(top), std::move(bottom)};
}

MathsQuotient MathsQuotient::of(const Rational& value) {
  MathsQuotient out;
  add_term(out.top, {}, value);
  return out;
}

bool MathsQuotient::is_whole() const {
  return bottom.size() == 1 && bottom.begin()->first.empty() && bottom.begin()->second.is_one();
}

std::optional<Rational> MathsQuotient::constant() const {
  if (top.empty()) return Rational(0);
  if (!is_whole() || top.size() != 1 || !top.begin()->first.empty()) return std::nullopt;
  return top.begin()->second;
}

}  // namespace dure
