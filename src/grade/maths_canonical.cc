// Trees become forms from the leaves up; functions by their identities and special values.
#include "grade/maths_canonical.h"

#include <functional>

#include "grade/maths_forms.h"

namespace dure {

class MathsAlgebra::Forms : public MathsForms {
 public:
  MathsQuotient form(const MathsNode& node);

 private:
  MathsQuotient power(const MathsQuotient& base, const MathsQuotient& exponent);
  MathsQuotient function(const std::string& name, const std::vector<MathsQuotient>& arguments);
  MathsQuotient by_name(const std::string& name, const std::vector<MathsQuotient>& arguments) {
    return power_of_atom(MathsForms::function(name, arguments));
  }
  MathsQuotient square_root(int64_t value) {
    return rational_power(MathsQuotient::of(value), {1, 2});
  }
  std::optional<MathsQuotient> sine_of_turn(Rational turn);
  std::optional<Rational> turn_of(const MathsQuotient& argument);
  MathsQuotient sine(const MathsQuotient& argument);
  MathsQuotient cosine_of(const MathsQuotient& argument);
  MathsQuotient arcus(const std::string& name, const MathsQuotient& argument);
  MathsQuotient logarithm(const std::string& name, const MathsQuotient& argument);
  MathsQuotient logarithm_of_term(const std::string& name, const MathsMonomial& monomial,
                                  const Rational& coefficient);
  MathsQuotient absolute(const MathsQuotient& argument);
  MathsQuotient rounded(const std::string& name, const MathsQuotient& argument);
  MathsQuotient factorial(const std::string& name, const MathsQuotient& argument);
  MathsQuotient binomial(const MathsQuotient& top, const MathsQuotient& bottom);
  MathsQuotient of_numbers(const std::string& name, const std::vector<MathsQuotient>& arguments);
  static bool leads_negative(const MathsQuotient& a) {
    return !a.is_zero() && a.top.begin()->second.is_negative();
  }
};

MathsQuotient MathsAlgebra::Forms::form(const MathsNode& node) {
  MathsEffort::charge(10);
  std::vector<MathsQuotient> kids;
  if (node.kind <= MathsKind::kFunction)
    for (const MathsNode& kid : node.kids) kids.push_back(form(kid));
  switch (node.kind) {
    case MathsKind::kNumber:
      return MathsQuotient::of(node.number);
    case MathsKind::kSymbol:
      if (node.name == "i") return power_of_atom(imaginary());
      if (node.name == "pi" || node.name == "e") return power_of_atom(constant(node.name));
      return power_of_atom(symbol(node.name));
    case MathsKind::kAdd: {
      MathsQuotient sum;
      for (const MathsQuotient& kid : kids) sum = add(sum, kid);
      return sum;
    }
    case MathsKind::kMultiply: {
      MathsQuotient product = MathsQuotient::of(1);
      for (const MathsQuotient& kid : kids) product = multiply(product, kid);
      return product;
    }
    case MathsKind::kDivide:
      return divide(kids[0], kids[1]);
    case MathsKind::kPower:
      return power(kids[0], kids[1]);
    case MathsKind::kRoot:
      return power(kids[0], divide(MathsQuotient::of(1), kids[1]));
    case MathsKind::kFunction:
      return function(node.name, kids);
    default:
      throw MathsGivenUp{"it is no number"};
  }
}

MathsQuotient MathsAlgebra::Forms::power(const MathsQuotient& base, const MathsQuotient& exponent) {
  const auto value = exponent.constant();
  if (!value) return symbolic_power(base, exponent);
  const auto top = value->top().to_int64(), bottom = value->bottom().to_int64();
  if (!top || !bottom) {
    const auto constant = base.constant();
    if (constant && constant->is_one()) return base;
    throw MathsGivenUp{"an exponent is too large"};
  }
  return rational_power(base, MathsExponent::of(*top, *bottom));
}

MathsQuotient MathsAlgebra::Forms::function(const std::string& name,
                                            const std::vector<MathsQuotient>& arguments) {
  if (arguments.empty()) throw MathsGivenUp{"a function has no argument"};
  const MathsQuotient& x = arguments[0];
  if (arguments.size() == 1) {
    const MathsQuotient one = MathsQuotient::of(1);
    if (name == "sin") return sine(x);
    if (name == "cos") return cosine_of(x);
    if (name == "tan") return divide(sine(x), cosine_of(x));
    if (name == "cot") return divide(cosine_of(x), sine(x));
    if (name == "sec") return divide(one, cosine_of(x));
    if (name == "csc") return divide(one, sine(x));
    if (name == "exp") return power(power_of_atom(constant("e")), x);
    if (name == "abs") return absolute(x);
    if (name == "floor" || name == "ceil") return rounded(name, x);
    if (name == "factorial" || name == "doublefactorial") return factorial(name, x);
    if (name == "ln" || name == "log") return logarithm(name, x);
    if (name == "arcsin" || name == "arccos" || name == "arctan") return arcus(name, x);
  }
  if (arguments.size() == 2) {
    if (name == "binom") return binomial(x, arguments[1]);
    if (name == "log") return divide(logarithm("ln", x), logarithm("ln", arguments[1]));
  }
  return of_numbers(name, arguments);
}

// argument = turn * pi
std::optional<Rational> MathsAlgebra::Forms::turn_of(const MathsQuotient& argument) {
  if (argument.is_zero()) return Rational(0);
  if (!argument.is_whole() || argument.top.size() != 1) return std::nullopt;
  const auto& [monomial, coefficient] = *argument.top.begin();
  const MathsMonomial pi = {{constant("pi"), {1, 1}}};
  return monomial == pi ? std::optional(coefficient) : std::nullopt;
}

std::optional<MathsQuotient> MathsAlgebra::Forms::sine_of_turn(Rational turn) {
  turn = turn - Rational((turn / Rational(2)).floor(), BigInt(1)) * Rational(2);  // [0, 2)
  const bool negative = turn >= Rational(1);
  if (negative) turn = turn - Rational(1);
  if (turn > Rational(BigInt(1), BigInt(2))) turn = Rational(1) - turn;
  const auto is = [&](int64_t top, int64_t bottom) {
    return turn == Rational(BigInt(top), BigInt(bottom));
  };
  const auto quarter = [](const MathsQuotient& a, const MathsQuotient& b, MathsForms& forms) {
    return forms.scale(forms.add(a, b), Rational(BigInt(1), BigInt(4)));
  };
  const Rational half(BigInt(1), BigInt(2));
  std::optional<MathsQuotient> value;
  if (turn.is_zero()) value = MathsQuotient();
  if (is(1, 2)) value = MathsQuotient::of(1);
  if (is(1, 6)) value = MathsQuotient::of(half);
  if (is(1, 4)) value = scale(square_root(2), half);
  if (is(1, 3)) value = scale(square_root(3), half);
  if (is(1, 12)) value = quarter(square_root(6), scale(square_root(2), Rational(-1)), *this);
  if (is(5, 12)) value = quarter(square_root(6), square_root(2), *this);
  if (is(1, 10)) value = quarter(square_root(5), MathsQuotient::of(-1), *this);
  if (is(3, 10)) value = quarter(square_root(5), MathsQuotient::of(1), *this);
  if (value && negative) value = scale(*value, Rational(-1));
  return value;
}

MathsQuotient MathsAlgebra::Forms::sine(const MathsQuotient& argument) {
  if (const auto turn = turn_of(argument))
    if (auto value = sine_of_turn(*turn)) return *std::move(value);
  if (leads_negative(argument)) return scale(sine(scale(argument, Rational(-1))), Rational(-1));
  return by_name("sin", {argument});
}

MathsQuotient MathsAlgebra::Forms::cosine_of(const MathsQuotient& argument) {
  if (const auto turn = turn_of(argument))
    if (auto value = sine_of_turn(Rational(BigInt(1), BigInt(2)) - *turn)) return *std::move(value);
  if (leads_negative(argument)) return cosine_of(scale(argument, Rational(-1)));
  return by_name("cos", {argument});
}

// The angles between 0 and a half turn whose sine or tangent is known.
MathsQuotient MathsAlgebra::Forms::arcus(const std::string& name, const MathsQuotient& argument) {
  if (name != "arccos" && leads_negative(argument))
    return scale(arcus(name, scale(argument, Rational(-1))), Rational(-1));
  const std::string wanted = key(argument);
  for (const int64_t twentieth : {0, 5, 6, 10, 15, 18, 20, 25, 30, 40, 45, 50, 60}) {
    const Rational turn(BigInt(twentieth), BigInt(60));
    const auto top = sine_of_turn(name == "arccos" ? Rational(BigInt(1), BigInt(2)) - turn : turn);
    if (!top) continue;
    if (name != "arccos" && turn > Rational(BigInt(1), BigInt(2))) break;
    MathsQuotient value = *top;
    if (name == "arctan") {
      const auto bottom = sine_of_turn(Rational(BigInt(1), BigInt(2)) - turn);
      if (!bottom || bottom->is_zero()) continue;
      value = divide(value, *bottom);
    }
    if (key(value) == wanted) return scale(power_of_atom(constant("pi")), turn);
  }
  return by_name(name, {argument});
}

// ln (c m) = the sum of the logarithms of c's primes and of positive atoms, and of what is left.
MathsQuotient MathsAlgebra::Forms::logarithm_of_term(const std::string& name,
                                                     const MathsMonomial& monomial,
                                                     const Rational& coefficient) {
  MathsQuotient sum;
  const auto add_log = [&](const MathsQuotient& of, const Rational& times) {
    sum = add(sum, scale(by_name(name, {of}), times));
  };
  for (const auto& [side, sign] : {std::pair{coefficient.top(), 1}, {coefficient.bottom(), -1}}) {
    if (side.is_one()) continue;
    for (const PrimePower& factor : factors_of(side))
      add_log(MathsQuotient::of(Rational(factor.base, BigInt(1))),
              Rational(sign * factor.exponent));
  }
  MathsMonomial rest;
  for (const auto& [id, exponent] : monomial) {
    const Rational times(BigInt(exponent.top), BigInt(exponent.bottom));
    if (!atom_of(id).positive) {
      rest.emplace_back(id, exponent);
    } else if (name == "ln" && atom_of(id).key == "ce") {
      sum = add(sum, MathsQuotient::of(times));
    } else {
      // Not power_of_atom's: the whole of a prime is a number.
      const MathsQuotient of = atom_of(id).kind == MathsAtomKind::kPrime
                                   ? MathsQuotient::of(Rational(atom_of(id).prime, BigInt(1)))
                                   : power_of_atom(id);
      add_log(of, times);
    }
  }
  if (!rest.empty()) {
    MathsQuotient of;
    add_term(of.top, rest, Rational(1));
    add_log(of, Rational(1));
  }
  return sum;
}

MathsQuotient MathsAlgebra::Forms::logarithm(const std::string& name,
                                             const MathsQuotient& argument) {
  if (argument.is_zero()) throw MathsGivenUp{"a logarithm of zero"};
  if (!argument.is_whole()) return by_name(name, {argument});
  if (argument.top.size() > 1) {
    const Rational content = content_of(argument.top);
    return add(logarithm_of_term(name, {}, content),
               by_name(name, {scale(argument, content.inverse())}));
  }
  const auto& [monomial, coefficient] = *argument.top.begin();
  if (coefficient.is_negative()) return by_name(name, {argument});
  return logarithm_of_term(name, monomial, coefficient);
}

MathsQuotient MathsAlgebra::Forms::absolute(const MathsQuotient& argument) {
  if (const auto value = argument.constant())
    return MathsQuotient::of(value->is_negative() ? -*value : *value);
  return by_name("abs", {leads_negative(argument) ? scale(argument, Rational(-1)) : argument});
}

// A whole number inside comes out.
MathsQuotient MathsAlgebra::Forms::rounded(const std::string& name, const MathsQuotient& argument) {
  const bool floor = name == "floor";
  if (!argument.is_whole()) return by_name(name, {argument});
  const auto found = argument.top.find({});
  const Rational constant = found == argument.top.end() ? Rational(0) : found->second;
  const Rational whole(floor ? constant.floor() : -(-constant).floor(), BigInt(1));
  if (argument.constant()) return MathsQuotient::of(whole);
  const MathsQuotient out = MathsQuotient::of(whole);
  return add(by_name(name, {subtract(argument, out)}), out);
}

MathsQuotient MathsAlgebra::Forms::factorial(const std::string& name,
                                             const MathsQuotient& argument) {
  const auto constant = argument.constant();
  if (!constant) return by_name(name, {argument});
  const auto n = constant->to_int64();
  if (!n || *n < 0) throw MathsGivenUp{"a factorial of no whole number"};
  BigInt product(1);
  for (int64_t k = *n; k > 1; k -= name == "factorial" ? 1 : 2) product = product * BigInt(k);
  return MathsQuotient::of(Rational(product, BigInt(1)));
}

MathsQuotient MathsAlgebra::Forms::binomial(const MathsQuotient& top, const MathsQuotient& bottom) {
  constexpr int64_t kSymbolicMax = 8;
  const MathsQuotient other = subtract(top, bottom);
  const auto n = top.constant(), k = bottom.constant();
  const auto take = [&](int64_t count) {
    MathsQuotient product = MathsQuotient::of(1);
    for (int64_t j = 0; j < count; ++j) {
      product = multiply(product, subtract(top, MathsQuotient::of(j)));
      product = scale(product, Rational(j + 1).inverse());
    }
    return product;
  };
  if (n && k && n->to_int64() && k->to_int64()) {
    const int64_t all = *n->to_int64(), some = *k->to_int64();
    if (all < 0) throw MathsGivenUp{"a binomial of a negative number"};
    if (some < 0 || some > all) return {};
    return take(std::min(some, all - some));
  }
  for (const MathsQuotient& few : {bottom, other}) {
    const auto count = few.constant();
    if (count && count->to_int64() && *count->to_int64() >= 0 && *count->to_int64() <= kSymbolicMax)
      return take(*count->to_int64());
  }
  return by_name("binom", {top, key(other) < key(bottom) ? other : bottom});
}

MathsQuotient MathsAlgebra::Forms::of_numbers(const std::string& name,
                                              const std::vector<MathsQuotient>& arguments) {
  const bool divisors = name == "gcd" || name == "lcm";
  if (!divisors && name != "min" && name != "max") return by_name(name, arguments);
  std::optional<Rational> out;
  for (const MathsQuotient& argument : arguments) {
    const auto value = argument.constant();
    if (!value || (divisors && !value->is_integer())) return by_name(name, arguments);
    if (!out) {
      out = *value;
    } else if (divisors) {
      const BigInt common = BigInt::gcd(out->top(), value->top());
      const BigInt product = (out->top() * value->top()).abs();
      if (common.is_zero()) return {};
      out = Rational(name == "gcd" ? common : product.divided_by(common).quotient, BigInt(1));
    } else if (name == "min" ? *value < *out : *value > *out) {
      out = *value;
    }
  }
  return MathsQuotient::of(*out);
}

// ---- The algebra
// ----------------------------------------------------------------------------------

namespace {

// Of linearly independent products alone: radicals of primes, i, symbols, and pi or e.
bool is_decided(const MathsForms& forms, const MathsPolynomial& polynomial) {
  int constants = 0, seen = -1;
  for (const auto& [monomial, coefficient] : polynomial) {
    for (const auto& [id, exponent] : monomial) {
      const MathsAtom& atom = forms.atom_of(id);
      const bool plain = atom.kind == MathsAtomKind::kImaginary ||
                         atom.kind == MathsAtomKind::kSymbol ||
                         atom.kind == MathsAtomKind::kConstant ||
                         (atom.kind == MathsAtomKind::kPrime && atom.certain_prime);
      if (!plain) return false;
      if (atom.kind == MathsAtomKind::kConstant && seen != id) {
        ++constants;
        seen = id;
      }
    }
  }
  return constants <= 1;  // Whether pi and e are independent of each other is not known.
}

}  // namespace

MathsAlgebra::MathsAlgebra() : forms_(std::make_unique<Forms>()) {}
MathsAlgebra::~MathsAlgebra() = default;

MathsAlgebra::Equality MathsAlgebra::compare(const MathsNode& a, const MathsNode& b) {
  const MathsQuotient left = forms_->form(a), right = forms_->form(b);
  const MathsQuotient difference = forms_->subtract(left, right);
  if (difference.is_zero()) return Equality::kEqual;
  if (is_decided(*forms_, difference.top) && is_decided(*forms_, difference.bottom))
    return Equality::kUnequal;
  return Equality::kNotShown;
}

bool MathsAlgebra::proportional(const MathsNode& a, const MathsNode& b) {
  const auto primitive = [&](const MathsNode& node) {
    MathsQuotient form = forms_->form(node);
    if (form.is_zero()) return form.top;
    Rational content = content_of(form.top);
    if (form.top.begin()->second.is_negative()) content = -content;
    return scaled(form.top, content.inverse());
  };
  return primitive(a) == primitive(b);
}

bool MathsAlgebra::is_linear(const MathsNode& node) {
  const MathsQuotient form = forms_->form(node);
  if (!form.is_whole()) return false;
  for (const auto& [monomial, coefficient] : form.top) {
    if (monomial.empty()) continue;
    if (monomial.size() > 1 || monomial[0].second != MathsExponent{1, 1} ||
        forms_->atom_of(monomial[0].first).kind != MathsAtomKind::kSymbol)
      return false;
  }
  return true;
}

}  // namespace dure
