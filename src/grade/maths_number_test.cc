// Exact arithmetic against the identities that define it, and its bounds.
#include "grade/maths_number.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace dure {
namespace {

BigInt random_integer(Rng& rng) {
  BigInt out(0);
  for (int64_t limbs = rng.between(1, 8); limbs > 0; --limbs) {
    const uint32_t limb = rng.below(3) == 0 ? 0xFFFFFFFF : rng.below(5) == 0 ? 0 : rng.next_u32();
    out = out * BigInt(int64_t{1} << 32) + BigInt(static_cast<int64_t>(limb));
  }
  return rng.below(2) == 0 ? out : -out;
}

TEST(MathsNumber, DivisionAndTextInvertProducts) {
  Rng rng(1);
  for (int round = 0; round < 20'000; ++round) {
    const BigInt a = random_integer(rng), b = random_integer(rng);
    if (b.is_zero()) continue;
    const auto [quotient, rest] = a.divided_by(b);
    ASSERT_EQ(quotient * b + rest, a);
    ASSERT_LT(rest.abs(), b.abs());
    ASSERT_EQ(*BigInt::from_digits(a.abs().text()), a.abs());
    const BigInt common = BigInt::gcd(a, b);
    ASSERT_TRUE(a.divided_by(common).rest.is_zero() && b.divided_by(common).rest.is_zero());
  }
}

TEST(MathsNumber, RootsPowersAndFactors) {
  EXPECT_EQ(BigInt::power(BigInt(7), 20).text(), "79792266297612001");
  EXPECT_EQ(*BigInt::power(BigInt(12345), 20).exact_root(5), BigInt::power(BigInt(12345), 4));
  EXPECT_FALSE(BigInt(50).exact_root(2).has_value());
  BigInt product(1);
  for (const PrimePower& factor : factors_of(BigInt(5'040'000'000'007)))
    product = product * BigInt::power(factor.base, factor.exponent);
  EXPECT_EQ(product, BigInt(5'040'000'000'007));
  EXPECT_EQ(BigInt(INT64_MIN).text(), "-9223372036854775808");
}

TEST(MathsNumber, Fractions) {
  EXPECT_EQ(Rational::from_decimal("12.050")->text(), "241/20");
  EXPECT_EQ(Rational::from_decimal(".5")->text(), "1/2");
  EXPECT_EQ(Rational::from_decimal("5.")->text(), "5");
  EXPECT_FALSE(Rational::from_decimal("1.2.3").has_value());
  EXPECT_FALSE(Rational::from_decimal(".").has_value());
  EXPECT_EQ(Rational(BigInt(-7), BigInt(2)).floor(), BigInt(-4));
  EXPECT_EQ(Rational(BigInt(6), BigInt(-4)), Rational(BigInt(-3), BigInt(2)));
  EXPECT_LT(Rational(BigInt(1), BigInt(3)), Rational(BigInt(1), BigInt(2)));
}

TEST(MathsNumber, BoundsAreTold) {
  EXPECT_THROW(BigInt::power(BigInt(10), 10'000), MathsGivenUp);
  EXPECT_THROW(Rational(BigInt(1), BigInt(0)), MathsGivenUp);
  const MathsEffort effort(100);
  EXPECT_THROW(
      {
        for (int i = 0; i < 1000; ++i) MathsEffort::charge(1);
      },
      MathsGivenUp);
}

}  // namespace
}  // namespace dure
