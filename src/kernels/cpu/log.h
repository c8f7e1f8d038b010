// kernels/cpu/log.h: the natural logarithm of one positive normal number, the same bits on every
// machine.
#pragma once

#include <bit>
#include <cstdint>

namespace dure::cpu {

// log x = e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2)): |s| < 0.1716, so
// s^17 / 17 < 6e-15 is the first term left out; computed in double, rounded once. x = 0, infinity
// and NaN give -infinity, infinity and NaN.
inline float log_f32(float x) {
  if (!(x > 0)) return x == 0 ? -__builtin_inff() : __builtin_nanf("");
  if (x == __builtin_inff()) return x;
  uint64_t bits = std::bit_cast<uint64_t>(static_cast<double>(x));
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1), z = s * s;
  double series = 1.0 / 15;
  for (int k = 13; k >= 1; k -= 2) series = series * z + 1.0 / k;
  return static_cast<float>(static_cast<double>(exponent) * 0.693147180559945309 + 2 * s * series);
}

}  // namespace dure::cpu
