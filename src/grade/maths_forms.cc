// Sums, products and integer powers; what a product's atoms become is simplified()'s.
#include "grade/maths_forms.h"

namespace dure {
namespace {

constexpr int kDepthMax = 60;
constexpr int64_t kSumPowerMax = 400;

struct Deeper {
  explicit Deeper(int& depth) : depth_(depth) {
    if (++depth_ > kDepthMax) {
      --depth_;
      throw MathsGivenUp{"roots and quotients are nested too deep"};
    }
  }
  ~Deeper() { --depth_; }
  int& depth_;
};

MathsQuotient of_term(const MathsMonomial& monomial, const Rational& coefficient) {
  MathsQuotient out;
  add_term(out.top, monomial, coefficient);
  return out;
}

}  // namespace

int MathsForms::atom(MathsAtom atom) {
  const auto [at, is_new] = ids_.try_emplace(atom.key, static_cast<int>(atoms_.size()));
  if (is_new) atoms_.push_back(std::move(atom));
  return at->second;
}

int MathsForms::prime(const BigInt& value, bool certain) {
  return atom({.kind = MathsAtomKind::kPrime,
               .key = "p" + value.text(),
               .positive = true,
               .certain_prime = certain,
               .prime = value});
}
int MathsForms::symbol(const std::string& name) {
  return atom({.kind = MathsAtomKind::kSymbol, .key = "s" + name});
}
int MathsForms::constant(const std::string& name) {
  return atom({.kind = MathsAtomKind::kConstant, .key = "c" + name, .positive = true});
}
int MathsForms::imaginary() { return atom({.kind = MathsAtomKind::kImaginary, .key = "i"}); }
int MathsForms::cosine(const MathsQuotient& argument) { return function("cos", {argument}); }

int MathsForms::function(const std::string& name, const std::vector<MathsQuotient>& arguments) {
  MathsAtom made{.kind = name == "sin" ? MathsAtomKind::kSine : MathsAtomKind::kFunction,
                 .key = "f" + name};
  for (const MathsQuotient& argument : arguments) made.key += "(" + key(argument) + ")";
  if (!arguments.empty()) made.base = arguments.front();
  return atom(std::move(made));
}

std::string MathsForms::key(const MathsQuotient& a) {
  return key_of(a.top) + (a.is_whole() ? "" : "/" + key_of(a.bottom));
}

MathsQuotient MathsForms::power_of_atom(int id, MathsExponent exponent) {
  return simplified({{id, exponent}}, Rational(1));
}

// Whole powers of radicals, i and sines leave the monomial.
MathsQuotient MathsForms::simplified(const MathsMonomial& raw, const Rational& coefficient) {
  const Deeper deeper(depth_);
  MathsMonomial kept;
  Rational factor = coefficient;
  std::vector<std::pair<MathsQuotient, int64_t>> pending;
  for (const auto& [id, exponent] : raw) {
    const MathsAtom& atom = atom_of(id);
    MathsExponent rest = exponent;
    const int64_t whole = exponent.floor();
    switch (atom.kind) {
      case MathsAtomKind::kPrime:
        factor = factor * Rational::power(Rational(atom.prime, BigInt(1)), whole);
        rest = exponent + MathsExponent{-whole, 1};
        break;
      case MathsAtomKind::kImaginary: {
        if (!exponent.is_integer()) throw MathsGivenUp{"a root of i"};
        const int64_t quarter = (whole % 4 + 4) % 4;
        if (quarter >= 2) factor = -factor;
        rest = {quarter % 2, 1};
        break;
      }
      case MathsAtomKind::kSum:
        if (whole != 0) pending.emplace_back(atom.base, whole);
        rest = exponent + MathsExponent{-whole, 1};
        break;
      case MathsAtomKind::kSine:
        if (exponent.is_integer() && whole >= 2) {
          const MathsQuotient cosine_squared = of_term({{cosine(atom.base), {2, 1}}}, Rational(-1));
          pending.emplace_back(add(MathsQuotient::of(1), cosine_squared), whole / 2);
          rest = {whole % 2, 1};
        }
        break;
      default:
        break;
    }
    if (!rest.is_zero()) kept.emplace_back(id, rest);
  }
  MathsQuotient out = of_term(kept, factor);
  for (const auto& [base, n] : pending) out = multiply(out, integer_power(base, n));
  return out;
}

MathsQuotient MathsForms::product(const MathsPolynomial& a, const MathsPolynomial& b) {
  MathsQuotient out, others;
  for (const auto& [monomial_a, coefficient_a] : a) {
    for (const auto& [monomial_b, coefficient_b] : b) {
      const Rational coefficient = coefficient_a * coefficient_b;
      if (monomial_a.empty() || monomial_b.empty()) {  // Nothing meets that could simplify.
        add_term(out.top, monomial_a.empty() ? monomial_b : monomial_a, coefficient);
        continue;
      }
      const MathsQuotient term = simplified(product_of(monomial_a, monomial_b), coefficient);
      if (term.is_whole()) {
        for (const auto& [monomial, value] : term.top) add_term(out.top, monomial, value);
      } else {
        others = add(others, term);
      }
    }
  }
  return others.is_zero() ? out : add(out, others);
}

// A bottom of one term is divided through; else its first coefficient becomes 1.
MathsQuotient MathsForms::normal(MathsPolynomial top, MathsPolynomial bottom) {
  const Deeper deeper(depth_);
  if (bottom.empty()) throw MathsGivenUp{"a division by zero"};
  if (top.empty()) return {};
  const auto& [monomial, coefficient] = *bottom.begin();
  if (bottom.size() == 1) {
    if (monomial.empty()) return {.top = scaled(top, coefficient.inverse())};
    MathsMonomial inverse = monomial;
    for (auto& [id, exponent] : inverse) exponent = -exponent;
    return multiply({.top = std::move(top)}, simplified(inverse, coefficient.inverse()));
  }
  const Rational lead = coefficient.inverse();
  MathsQuotient out{.top = scaled(top, lead), .bottom = scaled(bottom, lead)};
  if (out.top.size() != out.bottom.size()) return out;
  const Rational ratio = out.top.begin()->second / out.bottom.begin()->second;
  if (out.top == scaled(out.bottom, ratio)) return MathsQuotient::of(ratio);
  return out;
}

MathsQuotient MathsForms::add(const MathsQuotient& a, const MathsQuotient& b) {
  if (a.is_zero()) return b;
  if (b.is_zero()) return a;
  if (a.bottom == b.bottom) {
    if (a.is_whole()) return {.top = sum_of(a.top, b.top)};
    return normal(sum_of(a.top, b.top), a.bottom);
  }
  const Deeper deeper(depth_);
  const MathsQuotient left = product(a.top, b.bottom), right = product(b.top, a.bottom);
  const MathsQuotient bottom = product(a.bottom, b.bottom);
  return divide(add(left, right), bottom);
}

MathsQuotient MathsForms::subtract(const MathsQuotient& a, const MathsQuotient& b) {
  return add(a, scale(b, Rational(-1)));
}

MathsQuotient MathsForms::scale(const MathsQuotient& a, const Rational& by) {
  if (by.is_zero()) return {};
  return {.top = scaled(a.top, by), .bottom = a.bottom};
}

MathsQuotient MathsForms::multiply(const MathsQuotient& a, const MathsQuotient& b) {
  const Deeper deeper(depth_);
  if (a.is_zero() || b.is_zero()) return {};
  const MathsQuotient top = product(a.top, b.top);
  if (a.is_whole() && b.is_whole()) return top;
  const MathsQuotient bottom = product(a.bottom, b.bottom);
  if (top.is_whole() && bottom.is_whole()) return normal(top.top, bottom.top);
  return divide(top, bottom);
}

MathsQuotient MathsForms::divide(const MathsQuotient& a, const MathsQuotient& b) {
  if (b.is_zero()) throw MathsGivenUp{"a division by zero"};
  if (a.is_whole() && b.is_whole()) return normal(a.top, b.top);
  return multiply(a, normal(b.bottom, b.top));
}

MathsQuotient MathsForms::integer_power(const MathsQuotient& a, int64_t n) {
  if (n == 0) {
    if (a.is_zero()) throw MathsGivenUp{"zero to the power of zero"};
    return MathsQuotient::of(1);
  }
  if (n < 0) return integer_power(divide(MathsQuotient::of(1), a), -n);
  if (a.is_zero() || n == 1) return a;
  if (a.is_whole() && a.top.size() == 1) {
    const auto& [monomial, coefficient] = *a.top.begin();
    MathsMonomial raised = monomial;
    for (auto& [id, exponent] : raised) exponent = exponent * MathsExponent::of(n);
    return simplified(raised, Rational::power(coefficient, n));
  }
  if (n > kSumPowerMax) throw MathsGivenUp{"a power of a sum is too large"};
  MathsQuotient out = MathsQuotient::of(1), square = a;
  for (;;) {
    if (n % 2 == 1) out = multiply(out, square);
    n /= 2;
    if (n == 0) return out;
    square = multiply(square, square);
  }
}

}  // namespace dure
