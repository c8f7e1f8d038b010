// grade/maths_number.h: exact integers and fractions of bounded size, and the bound on work.
//
// Owns BigInt, Rational and MathsEffort. Whatever grows beyond its bound throws MathsGivenUp, which
// never leaves the comparison (maths_compare.h): "cannot tell". Not here: expressions
// (maths_tree.h), floating point (maths_numeric.h).
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

struct MathsGivenUp {
  const char* why;
};

// Counts elementary steps of this thread's work, within each of the scopes that are open.
class MathsEffort {
 public:
  explicit MathsEffort(int64_t steps_max);
  ~MathsEffort();
  MathsEffort(const MathsEffort&) = delete;
  static void charge(int64_t steps);  // throws MathsGivenUp; free outside any scope

 private:
  int64_t left_;
  MathsEffort* outer_;
};

class BigInt {
 public:
  static constexpr size_t kLimbsMax = 300;  // of 32 bits: 9,600 bits, 2,889 decimal digits

  BigInt(int64_t value = 0);  // NOLINT: numbers are numbers
  // Digits alone, in base 2 to 36. Nothing where a character is no digit of it.
  static std::optional<BigInt> from_digits(std::string_view digits, int base = 10);

  bool is_zero() const { return limbs_.empty(); }
  bool is_negative() const { return negative_; }
  bool is_one() const { return !negative_ && limbs_.size() == 1 && limbs_[0] == 1; }
  bool is_odd() const { return !limbs_.empty() && (limbs_[0] & 1) != 0; }
  std::optional<int64_t> to_int64() const;
  // The nearest long double below in magnitude; infinite where it is too large.
  long double to_long_double() const;
  std::string text() const;
  int64_t bit_count() const;  // of the magnitude

  BigInt operator-() const;
  BigInt abs() const { return negative_ ? -*this : *this; }
  BigInt operator+(const BigInt& other) const;
  BigInt operator-(const BigInt& other) const { return *this + -other; }
  BigInt operator*(const BigInt& other) const;
  struct Quotient;
  Quotient divided_by(const BigInt& divisor) const;  // towards zero; the divisor is not zero
  std::strong_ordering operator<=>(const BigInt& other) const;
  bool operator==(const BigInt& other) const = default;

  static BigInt gcd(BigInt a, BigInt b);
  static BigInt power(const BigInt& base, int64_t exponent);  // exponent >= 0
  // The integer r >= 0 with r^n == *this, where there is one. *this >= 0, n >= 2.
  std::optional<BigInt> exact_root(int64_t n) const;

 private:
  static int compare_magnitude(const BigInt& a, const BigInt& b);
  void trim();
  std::vector<uint32_t> limbs_;  // low first, none of them leading zeros
  bool negative_ = false;
};
struct BigInt::Quotient {
  BigInt quotient, rest;
};

class Rational {
 public:
  Rational(int64_t value = 0) : top_(value), bottom_(1) {}  // NOLINT
  Rational(BigInt top, BigInt bottom);                      // the bottom is not zero
  // "12.050" as 241/20; nothing where it is no plain decimal.
  static std::optional<Rational> from_decimal(std::string_view text);

  const BigInt& top() const { return top_; }
  const BigInt& bottom() const { return bottom_; }  // > 0
  bool is_zero() const { return top_.is_zero(); }
  bool is_one() const { return top_.is_one() && bottom_.is_one(); }
  bool is_integer() const { return bottom_.is_one(); }
  bool is_negative() const { return top_.is_negative(); }
  std::optional<int64_t> to_int64() const;
  long double to_long_double() const;
  std::string text() const;
  BigInt floor() const;

  Rational operator-() const;
  Rational operator+(const Rational& other) const;
  Rational operator-(const Rational& other) const { return *this + -other; }
  Rational operator*(const Rational& other) const;
  Rational inverse() const;  // of what is not zero
  Rational operator/(const Rational& other) const { return *this * other.inverse(); }
  static Rational power(const Rational& base, int64_t exponent);
  std::strong_ordering operator<=>(const Rational& other) const;
  bool operator==(const Rational& other) const = default;

 private:
  BigInt top_, bottom_;
};

struct PrimePower {
  BigInt base;  // a prime, or a large factor of which no small prime is a factor
  int64_t exponent;
};
// |value| > 0 as a product. Factors above 10^6 may be composite, and are not squares.
std::vector<PrimePower> factors_of(const BigInt& value);

}  // namespace dure
