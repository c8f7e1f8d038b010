// Bounds by first-order propagation: |f'| times the operand's bound, plus a few units of rounding.
#include "grade/maths_numeric.h"

#include <cmath>
#include <numeric>

namespace dure {
namespace {

using Complex = std::complex<long double>;
constexpr long double kEpsilon = 0x1p-63L;
constexpr long double kPi = 3.14159265358979323846264338327950288L;
constexpr long double kE = 2.71828182845904523536028747135266250L;

struct NoValue {};

bool is_small_integer(Complex value) {
  return value.imag() == 0 && std::abs(value.real()) < 0x1p60L &&
         std::nearbyint(value.real()) == value.real();
}

// What exact operands below 2^60 give is exact where it is an integer.
MathsValue rounded(Complex value, long double error) {
  const long double size = std::abs(value);
  if (!std::isfinite(size) || !std::isfinite(error)) throw NoValue{};
  if (error == 0 && is_small_integer(value)) return {value, 0};
  return {value, error + 2 * kEpsilon * size};
}

class Evaluator {
 public:
  explicit Evaluator(const MathsPoint& point) : point_(point) {}

  MathsValue value(const MathsNode& node) {
    MathsEffort::charge(20);
    const MathsValue out = raw(node);
    if (!point_.complex_allowed && out.value.imag() != 0) throw NoValue{};
    return out;
  }

 private:
  MathsValue raw(const MathsNode& node) {
    switch (node.kind) {
      case MathsKind::kNumber:
        return rounded(node.number.to_long_double(), 0);
      case MathsKind::kSymbol:
        return symbol(node.name);
      case MathsKind::kAdd: {
        MathsValue sum;
        for (const MathsNode& kid : node.kids) {
          const MathsValue x = value(kid);
          sum = rounded(sum.value + x.value, sum.error + x.error);
        }
        return sum;
      }
      case MathsKind::kMultiply: {
        MathsValue product{1, 0};
        for (const MathsNode& kid : node.kids) product = multiply(product, value(kid));
        return product;
      }
      case MathsKind::kDivide:
        return divide(value(node.kids[0]), value(node.kids[1]));
      case MathsKind::kPower:
        return power(value(node.kids[0]), value(node.kids[1]), exact_exponent(node.kids[1]));
      case MathsKind::kRoot: {
        const auto index = exact_exponent(node.kids[1]);
        if (!index || index->is_zero()) throw NoValue{};
        return power(value(node.kids[0]), divide({1, 0}, value(node.kids[1])), index->inverse());
      }
      case MathsKind::kFunction:
        return function(node);
      default:
        throw NoValue{};
    }
  }

  MathsValue symbol(const std::string& name) const {
    if (name == "pi") return rounded(kPi, 0);
    if (name == "e") return rounded(kE, 0);
    if (name == "i") return {Complex(0, 1), 0};
    const auto found = point_.symbols.find(name);
    if (found == point_.symbols.end()) throw NoValue{};
    return {found->second, 0};
  }

  static MathsValue multiply(const MathsValue& a, const MathsValue& b) {
    return rounded(a.value * b.value,
                   std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error);
  }

  static MathsValue divide(const MathsValue& a, const MathsValue& b) {
    const long double size = std::abs(b.value);
    if (size <= 2 * b.error || size == 0) throw NoValue{};
    const Complex quotient = a.value / b.value;
    return rounded(quotient, (a.error + std::abs(quotient) * b.error) / (size - b.error));
  }

  // A rational number, where the exponent is one.
  static std::optional<Rational> exact_exponent(const MathsNode& node) {
    if (node.kind == MathsKind::kNumber) return node.number;
    if (node.kind == MathsKind::kDivide && node.kids[0].kind == MathsKind::kNumber &&
        node.kids[1].kind == MathsKind::kNumber && !node.kids[1].number.is_zero())
      return node.kids[0].number / node.kids[1].number;
    if (node.kind == MathsKind::kMultiply && node.kids.size() == 2) {
      const auto a = exact_exponent(node.kids[0]), b = exact_exponent(node.kids[1]);
      if (a && b) return *a * *b;
    }
    return std::nullopt;
  }

  static bool is_real(const MathsValue& x) { return x.value.imag() == 0; }
  static bool is_whole(const MathsValue& x) {
    return is_real(x) && std::nearbyint(x.value.real()) == x.value.real();
  }

  MathsValue power(const MathsValue& base, const MathsValue& exponent,
                   const std::optional<Rational>& exact) const {
    const long double size = std::abs(base.value);
    if (size <= 2 * base.error) {  // Zero, or not to be told from it.
      if (base.error == 0 && is_real(exponent) && exponent.value.real() > 0) return {0, 0};
      throw NoValue{};
    }
    // An odd root of a negative number is real.
    if (is_real(base) && base.value.real() < 0 && exact && !exact->is_integer() &&
        exact->bottom().is_odd()) {
      MathsValue out = power({-base.value, base.error}, exponent, std::nullopt);
      out.value.imag(0);
      if (exact->top().is_odd()) out.value = -out.value;
      return out;
    }
    Complex value;
    if (is_real(base) && is_real(exponent) && (base.value.real() > 0 || is_whole(exponent))) {
      value = std::pow(base.value.real(), exponent.value.real());
    } else {
      value = std::pow(base.value, exponent.value);
      if (exact && *exact == Rational(BigInt(1), BigInt(2))) value = std::sqrt(base.value);
    }
    if (base.error == 0 && exponent.error == 0 && is_small_integer(base.value) &&
        is_small_integer(exponent.value) && is_small_integer(value))
      return {value, 0};
    const long double log_size = std::abs(std::log(base.value));
    const long double relative = std::abs(exponent.value) * base.error / (size - base.error) +
                                 log_size * exponent.error +
                                 4 * kEpsilon * (1 + std::abs(exponent.value) * log_size);
    return rounded(value, std::abs(value) * std::expm1(std::min(relative, 1.0L)));
  }

  MathsValue function(const MathsNode& node) {
    std::vector<MathsValue> x;
    for (const MathsNode& kid : node.kids) x.push_back(value(kid));
    if (x.empty()) throw NoValue{};
    if (x.size() == 2 && node.name == "log") return divide(logarithm(x[0]), logarithm(x[1]));
    if (node.name == "binom" && x.size() == 2) return binomial(x[0], x[1]);
    if (node.name == "gcd" || node.name == "lcm" || node.name == "min" || node.name == "max")
      return of_many(node.name, x);
    if (x.size() != 1) throw NoValue{};
    return of_one(node.name, x[0]);
  }

  MathsValue of_one(const std::string& name, const MathsValue& x) const {
    if (name == "abs") return rounded(std::abs(x.value), x.error);
    if (name == "ln") return logarithm(x);
    if (name == "log")
      return point_.plain_log_is_base_10 ? divide(logarithm(x), logarithm({10, 0})) : logarithm(x);
    if (name == "exp") return power(rounded(kE, 0), x, std::nullopt);
    if (!is_real(x)) throw NoValue{};
    const long double v = x.value.real(), e = x.error;
    if (name == "sin") return turned(std::sin(v), v, e);
    if (name == "cos") return turned(std::cos(v), v, e);
    if (name == "tan") return divide(turned(std::sin(v), v, e), turned(std::cos(v), v, e));
    if (name == "cot") return divide(turned(std::cos(v), v, e), turned(std::sin(v), v, e));
    if (name == "sec") return divide({1, 0}, turned(std::cos(v), v, e));
    if (name == "csc") return divide({1, 0}, turned(std::sin(v), v, e));
    if (name == "sinh") return rounded(std::sinh(v), std::cosh(v) * e * 2);
    if (name == "cosh") return rounded(std::cosh(v), std::cosh(v) * e * 2);
    if (name == "tanh") return rounded(std::tanh(v), e);
    if (name == "arctan") return rounded(std::atan(v), e);
    if (name == "arcsin" || name == "arccos") return arcus(name, v, e);
    if (name == "floor" || name == "ceil") return stepped(name, v, e);
    if (name == "factorial" || name == "doublefactorial") return factorial(name, x);
    throw NoValue{};
  }

  static MathsValue turned(long double value, long double argument, long double error) {
    return rounded(value, error + 2 * kEpsilon * (1 + std::abs(argument)));
  }

  static MathsValue arcus(const std::string& name, long double v, long double e) {
    const long double room = 1 - std::abs(v);
    if (room < 0) throw NoValue{};
    const long double slope = 1 / std::sqrt(std::max(room, kEpsilon));
    return rounded(name == "arcsin" ? std::asin(v) : std::acos(v), 2 * e * slope);
  }

  static MathsValue stepped(const std::string& name, long double v, long double e) {
    // Nearer to a step than the bound, it may be on either side of it.
    if (e > 0 && std::abs(v - std::nearbyint(v)) <= 4 * e) throw NoValue{};
    return rounded(name == "floor" ? std::floor(v) : std::ceil(v), 0);
  }

  MathsValue logarithm(const MathsValue& x) const {
    const long double size = std::abs(x.value);
    if (size <= 2 * x.error || (is_real(x) && x.value.real() < 0 && !point_.complex_allowed))
      throw NoValue{};
    return rounded(std::log(x.value), x.error / (size - x.error) + 2 * kEpsilon);
  }

  static MathsValue factorial(const std::string& name, const MathsValue& x) {
    if (!is_whole(x) || x.error != 0 || x.value.real() < 0 || x.value.real() > 1700)
      throw NoValue{};
    long double product = 1;
    const long double step = name == "factorial" ? 1 : 2;
    for (long double k = x.value.real(); k > 1; k -= step) product *= k;
    if (is_small_integer(product)) return {product, 0};
    return rounded(product, product * kEpsilon * x.value.real());
  }

  static MathsValue binomial(const MathsValue& n, const MathsValue& k) {
    if (!is_whole(n) || !is_whole(k) || n.error + k.error != 0) throw NoValue{};
    const long double all = n.value.real();
    long double some = k.value.real();
    if (all < 0 || all > 20'000) throw NoValue{};
    if (some < 0 || some > all) return {0, 0};
    some = std::min(some, all - some);
    long double product = 1;
    long double largest = 1;
    for (long double j = 1; j <= some; ++j) {
      product *= all - some + j;
      largest = std::max(largest, product);
      product /= j;  // exact while the product was: it is a binomial coefficient
    }
    if (is_small_integer(largest)) return {product, 0};
    return rounded(product, product * kEpsilon * 3 * some);
  }

  static MathsValue of_many(const std::string& name, const std::vector<MathsValue>& values) {
    MathsValue out = values[0];
    for (const MathsValue& x : values) {
      if (!is_real(x)) throw NoValue{};
      if (name == "min" || name == "max") {
        const bool less = x.value.real() < out.value.real();
        const long double error = std::max(x.error, out.error);
        if (less == (name == "min")) out = x;
        out.error = error;
      } else {
        out = divisor(name, out, x);
      }
    }
    return out;
  }

  static MathsValue divisor(const std::string& name, const MathsValue& a, const MathsValue& b) {
    constexpr long double kMax = 1e9L;  // so that their product is a machine integer
    if (!is_whole(a) || !is_whole(b) || a.error + b.error != 0) throw NoValue{};
    if (std::abs(a.value) > kMax || std::abs(b.value) > kMax) throw NoValue{};
    const auto x = static_cast<int64_t>(a.value.real()), y = static_cast<int64_t>(b.value.real());
    if (name == "gcd") return {static_cast<long double>(std::gcd(x, y)), 0};
    return {static_cast<long double>(std::lcm(x, y)), 0};
  }

  const MathsPoint& point_;
};

}  // namespace

std::optional<MathsValue> maths_value(const MathsNode& node, const MathsPoint& point) {
  try {
    return Evaluator(point).value(node);
  } catch (const NoValue&) {
    return std::nullopt;
  } catch (const MathsGivenUp&) {
    return std::nullopt;
  }
}

void MathsSymbols::add(const MathsNode& node) {
  if (node.kind == MathsKind::kSymbol && node.name == "i") {
    has_imaginary = true;
  } else if (node.kind == MathsKind::kSymbol && node.name != "pi" && node.name != "e") {
    names.insert(node.name);
  }
  if (node.kind == MathsKind::kFunction && node.name == "log" && node.kids.size() == 1)
    has_plain_log = true;
  for (const MathsNode& kid : node.kids) add(kid);
}

}  // namespace dure
