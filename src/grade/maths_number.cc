// Schoolbook arithmetic on 32-bit limbs: the bound on sizes makes anything better pointless.
#include "grade/maths_number.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dure {
namespace {

thread_local MathsEffort* t_effort = nullptr;

}  // namespace

MathsEffort::MathsEffort(int64_t steps_max) : left_(steps_max), outer_(t_effort) {
  t_effort = this;
}
MathsEffort::~MathsEffort() { t_effort = outer_; }
void MathsEffort::charge(int64_t steps) {
  for (MathsEffort* scope = t_effort; scope != nullptr; scope = scope->outer_) {
    scope->left_ -= steps;
    if (scope->left_ < 0) throw MathsGivenUp{"it takes too much work"};
  }
}

BigInt::BigInt(int64_t value) : negative_(value < 0) {
  auto magnitude = static_cast<uint64_t>(value);
  if (negative_) magnitude = 0 - magnitude;
  for (; magnitude != 0; magnitude >>= 32) limbs_.push_back(static_cast<uint32_t>(magnitude));
}

void BigInt::trim() {
  while (!limbs_.empty() && limbs_.back() == 0) limbs_.pop_back();
  if (limbs_.empty()) negative_ = false;
  if (limbs_.size() > kLimbsMax) throw MathsGivenUp{"a number is too large"};
}

std::optional<BigInt> BigInt::from_digits(std::string_view digits, int base) {
  if (digits.empty()) return std::nullopt;
  BigInt out;
  for (const char c : digits) {
    int digit = 99;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'z') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') digit = c - 'A' + 10;
    if (digit >= base) return std::nullopt;
    uint64_t carry = static_cast<uint64_t>(digit);
    for (uint32_t& limb : out.limbs_) {
      carry += static_cast<uint64_t>(limb) * static_cast<uint64_t>(base);
      limb = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) out.limbs_.push_back(static_cast<uint32_t>(carry));
    out.trim();
    MathsEffort::charge(static_cast<int64_t>(out.limbs_.size()) + 1);
  }
  return out;
}

std::optional<int64_t> BigInt::to_int64() const {
  if (limbs_.size() > 2) return std::nullopt;
  uint64_t magnitude = 0;
  for (size_t i = limbs_.size(); i-- > 0;) magnitude = magnitude << 32 | limbs_[i];
  if (magnitude > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  const auto value = static_cast<int64_t>(magnitude);
  return negative_ ? -value : value;
}

long double BigInt::to_long_double() const {
  long double value = 0;
  for (size_t i = limbs_.size(); i-- > 0;) value = value * 4294967296.0L + limbs_[i];
  return negative_ ? -value : value;
}

int64_t BigInt::bit_count() const {
  if (limbs_.empty()) return 0;
  return static_cast<int64_t>(limbs_.size()) * 32 - __builtin_clz(limbs_.back());
}

std::string BigInt::text() const {
  if (is_zero()) return "0";
  std::string out;
  std::vector<uint32_t> rest = limbs_;
  MathsEffort::charge(static_cast<int64_t>(rest.size() * rest.size()));
  while (!rest.empty()) {
    uint64_t carry = 0;
    for (size_t i = rest.size(); i-- > 0;) {
      carry = carry << 32 | rest[i];
      rest[i] = static_cast<uint32_t>(carry / 1'000'000'000);
      carry %= 1'000'000'000;
    }
    while (!rest.empty() && rest.back() == 0) rest.pop_back();
    for (int k = 0; k < 9 && (carry != 0 || !rest.empty()); ++k) {
      out += static_cast<char>('0' + carry % 10);
      carry /= 10;
    }
  }
  if (negative_) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

BigInt BigInt::operator-() const {
  BigInt out = *this;
  if (!out.limbs_.empty()) out.negative_ = !out.negative_;
  return out;
}

int BigInt::compare_magnitude(const BigInt& a, const BigInt& b) {
  if (a.limbs_.size() != b.limbs_.size()) return a.limbs_.size() < b.limbs_.size() ? -1 : 1;
  for (size_t i = a.limbs_.size(); i-- > 0;)
    if (a.limbs_[i] != b.limbs_[i]) return a.limbs_[i] < b.limbs_[i] ? -1 : 1;
  return 0;
}

BigInt BigInt::operator+(const BigInt& other) const {
  MathsEffort::charge(static_cast<int64_t>(limbs_.size() + other.limbs_.size()) + 1);
  BigInt out;
  if (negative_ == other.negative_) {
    uint64_t carry = 0;
    for (size_t i = 0; i < std::max(limbs_.size(), other.limbs_.size()) || carry != 0; ++i) {
      carry += i < limbs_.size() ? limbs_[i] : 0;
      carry += i < other.limbs_.size() ? other.limbs_[i] : 0;
      out.limbs_.push_back(static_cast<uint32_t>(carry));
      carry >>= 32;
    }
    out.negative_ = negative_;
  } else {
    const bool first_larger = compare_magnitude(*this, other) >= 0;
    const BigInt& large = first_larger ? *this : other;
    const BigInt& small = first_larger ? other : *this;
    int64_t borrow = 0;
    for (size_t i = 0; i < large.limbs_.size(); ++i) {
      int64_t digit = static_cast<int64_t>(large.limbs_[i]) + borrow;
      if (i < small.limbs_.size()) digit -= static_cast<int64_t>(small.limbs_[i]);
      borrow = digit < 0 ? -1 : 0;
      out.limbs_.push_back(static_cast<uint32_t>(digit));
    }
    out.negative_ = large.negative_;
  }
  out.trim();
  return out;
}

BigInt BigInt::operator*(const BigInt& other) const {
  MathsEffort::charge(static_cast<int64_t>(limbs_.size() * other.limbs_.size()) + 1);
  BigInt out;
  out.limbs_.resize(limbs_.size() + other.limbs_.size());
  for (size_t i = 0; i < limbs_.size(); ++i) {
    uint64_t carry = 0;
    for (size_t j = 0; j < other.limbs_.size() || carry != 0; ++j) {
      carry += out.limbs_[i + j];
      if (j < other.limbs_.size()) carry += static_cast<uint64_t>(limbs_[i]) * other.limbs_[j];
      out.limbs_[i + j] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
  }
  out.negative_ = negative_ != other.negative_;
  out.trim();
  return out;
}

// Bit by bit over limbs would be slow: Knuth's algorithm D, with the divisor's top bit set.
BigInt::Quotient BigInt::divided_by(const BigInt& divisor) const {
  if (compare_magnitude(*this, divisor) < 0) return {BigInt(), *this};
  const size_t n = divisor.limbs_.size(), m = limbs_.size() - n;
  MathsEffort::charge(static_cast<int64_t>((m + 1) * n) + 1);
  const int shift = __builtin_clz(divisor.limbs_.back());
  const auto shifted = [shift](const std::vector<uint32_t>& limbs) {
    std::vector<uint32_t> out(limbs.size() + 1);
    for (size_t i = 0; i < limbs.size(); ++i) {
      const uint64_t wide = static_cast<uint64_t>(limbs[i]) << shift;
      out[i] |= static_cast<uint32_t>(wide);
      out[i + 1] = static_cast<uint32_t>(wide >> 32);
    }
    return out;
  };
  std::vector<uint32_t> u = shifted(limbs_), v = shifted(divisor.limbs_);
  BigInt quotient;
  quotient.limbs_.resize(m + 1);
  for (size_t j = m + 1; j-- > 0;) {
    const uint64_t top = static_cast<uint64_t>(u[j + n]) << 32 | u[j + n - 1];
    uint64_t guess = top / v[n - 1], rest = top % v[n - 1];
    while (guess >> 32 != 0 || (n > 1 && guess * v[n - 2] > (rest << 32 | u[j + n - 2]))) {
      --guess;
      rest += v[n - 1];
      if (rest >> 32 != 0) break;
    }
    int64_t borrow = 0;
    uint64_t carry = 0;
    for (size_t i = 0; i <= n; ++i) {
      carry += i < n ? guess * v[i] : 0;
      const int64_t digit =
          static_cast<int64_t>(u[i + j]) - static_cast<int64_t>(carry & 0xFFFFFFFF) + borrow;
      u[i + j] = static_cast<uint32_t>(digit);
      borrow = digit < 0 ? -1 : 0;
      carry >>= 32;
    }
    if (borrow != 0) {  // The guess was one too high.
      --guess;
      uint64_t back = 0;
      for (size_t i = 0; i <= n; ++i) {
        back += static_cast<uint64_t>(u[i + j]) + (i < n ? v[i] : 0);
        u[i + j] = static_cast<uint32_t>(back);
        back >>= 32;
      }
    }
    quotient.limbs_[j] = static_cast<uint32_t>(guess);
  }
  BigInt rest;
  rest.limbs_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    rest.limbs_[i] = static_cast<uint32_t>((static_cast<uint64_t>(u[i + 1]) << 32 | u[i]) >> shift);
  }
  quotient.negative_ = negative_ != divisor.negative_;
  rest.negative_ = negative_;
  quotient.trim();
  rest.trim();
  return {std::move(quotient), std::move(rest)};
}

std::strong_ordering BigInt::operator<=>(const BigInt& other) const {
  if (negative_ != other.negative_)
    return negative_ ? std::strong_ordering::less : std::strong_ordering::greater;
  const int order = negative_ ? compare_magnitude(other, *this) : compare_magnitude(*this, other);
  return order <=> 0;
}

BigInt BigInt::gcd(BigInt a, BigInt b) {
  a.negative_ = false;
  b.negative_ = false;
  while (!b.is_zero()) {
    BigInt rest = a.divided_by(b).rest;
    a = std::move(b);
    b = std::move(rest);
  }
  return a;
}

BigInt BigInt::power(const BigInt& base, int64_t exponent) {
  const int64_t bits = base.bit_count();
  if (bits > 1 && (exponent > 32 * static_cast<int64_t>(kLimbsMax) ||
                   (bits - 1) * exponent > 32 * static_cast<int64_t>(kLimbsMax)))
    throw MathsGivenUp{"a power is too large"};
  if (bits <= 1) return exponent % 2 == 0 ? (exponent == 0 ? BigInt(1) : base.abs()) : base;
  BigInt out(1), square = base;
  for (;;) {
    if (exponent % 2 == 1) out = out * square;
    exponent /= 2;
    if (exponent == 0) return out;
    square = square * square;
  }
}

std::optional<BigInt> BigInt::exact_root(int64_t n) const {
  if (is_zero() || is_one()) return *this;
  if (n > bit_count()) return std::nullopt;
  // Newton from above: r' = ((n-1) r + x / r^(n-1)) / n falls until it is the floor of the root.
  BigInt root = power(BigInt(2), (bit_count() + n - 1) / n);
  for (;;) {
    const BigInt lower = power(root, n - 1);
    BigInt next =
        (root * BigInt(n - 1) + divided_by(lower).quotient).divided_by(BigInt(n)).quotient;
    if (next >= root) return lower * root == *this ? std::optional(root) : std::nullopt;
    root = std::move(next);
  }
}

Rational::Rational(BigInt top, BigInt bottom) : top_(std::move(top)), bottom_(std::move(bottom)) {
  if (bottom_.is_zero()) throw MathsGivenUp{"a division by zero"};
  if (bottom_.is_negative()) {
    top_ = -top_;
    bottom_ = -bottom_;
  }
  if (bottom_.is_one()) return;
  const BigInt common = BigInt::gcd(top_, bottom_);
  if (common.is_one()) return;
  top_ = top_.divided_by(common).quotient;
  bottom_ = bottom_.divided_by(common).quotient;
}

std::optional<Rational> Rational::from_decimal(std::string_view text) {
  const size_t point = text.find('.');
  std::string digits(text.substr(0, point));
  int64_t places = 0;
  if (point != std::string_view::npos) {
    digits += text.substr(point + 1);
    places = static_cast<int64_t>(text.size() - point - 1);
  }
  const auto top = BigInt::from_digits(digits);
  if (!top) return std::nullopt;
  return Rational(*top, BigInt::power(BigInt(10), places));
}

std::optional<int64_t> Rational::to_int64() const {
  return is_integer() ? top_.to_int64() : std::nullopt;
}

long double Rational::to_long_double() const {
  return top_.to_long_double() / bottom_.to_long_double();
}

std::string Rational::text() const {
  return is_integer() ? top_.text() : top_.text() + "/" + bottom_.text();
}

BigInt Rational::floor() const {
  auto [quotient, rest] = top_.divided_by(bottom_);
  return rest.is_negative() ? quotient - BigInt(1) : quotient;
}

Rational Rational::operator-() const {
  Rational out = *this;
  out.top_ = -out.top_;
  return out;
}

Rational Rational::operator+(const Rational& other) const {
  if (is_integer() && other.is_integer()) return {top_ + other.top_, BigInt(1)};
  return {top_ * other.bottom_ + other.top_ * bottom_, bottom_ * other.bottom_};
}

Rational Rational::operator*(const Rational& other) const {
  return {top_ * other.top_, bottom_ * other.bottom_};
}

Rational Rational::inverse() const { return {bottom_, top_}; }

Rational Rational::power(const Rational& base, int64_t exponent) {
  const bool negative = exponent < 0;
  if (exponent == std::numeric_limits<int64_t>::min()) throw MathsGivenUp{"a power is too large"};
  const int64_t size = negative ? -exponent : exponent;
  Rational out;
  out.top_ = BigInt::power(base.top_, size);
  out.bottom_ = BigInt::power(base.bottom_, size);
  return negative ? out.inverse() : out;
}

std::strong_ordering Rational::operator<=>(const Rational& other) const {
  return top_ * other.bottom_ <=> other.top_ * bottom_;
}

namespace {

void take_factor(BigInt& rest, int64_t prime, std::vector<PrimePower>& out) {
  int64_t exponent = 0;
  for (;;) {
    auto [quotient, over] = rest.divided_by(BigInt(prime));
    if (!over.is_zero()) break;
    rest = std::move(quotient);
    ++exponent;
  }
  if (exponent > 0) out.push_back({BigInt(prime), exponent});
}

// What is left below 2^63, by trial with machine integers up to 10^6.
void factor_small(uint64_t rest, std::vector<PrimePower>& out) {
  for (uint64_t p = 3; p <= 1'000'000 && p * p <= rest; p += 2) {
    int64_t exponent = 0;
    for (; rest % p == 0; rest /= p) ++exponent;
    if (exponent > 0) out.push_back({BigInt(static_cast<int64_t>(p)), exponent});
  }
  MathsEffort::charge(20'000);
  if (rest == 1) return;
  const auto left = BigInt(static_cast<int64_t>(rest));
  const auto root = left.exact_root(2);
  out.push_back(root ? PrimePower{*root, 2} : PrimePower{left, 1});
}

}  // namespace

std::vector<PrimePower> factors_of(const BigInt& value) {
  std::vector<PrimePower> out;
  BigInt rest = value.abs();
  take_factor(rest, 2, out);
  if (!rest.to_int64())
    for (int64_t p = 3; p < 2000 && !rest.is_one(); p += 2) take_factor(rest, p, out);
  if (rest.is_one()) return out;
  if (const auto small = rest.to_int64()) {
    factor_small(static_cast<uint64_t>(*small), out);
  } else {
    const auto root = rest.exact_root(2);
    out.push_back(root ? PrimePower{*root, 2} : PrimePower{rest, 1});
  }
  return out;
}

}  // namespace dure
