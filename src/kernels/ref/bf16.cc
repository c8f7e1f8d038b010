// The sums of arithmetic.h with flushing spelt out.
#include "kernels/ref/bf16.h"

#include <cmath>

#include "kernels/arithmetic.h"

namespace dure::ref {
namespace {

constexpr float kSmallest = 0x1p-126f;  // normal

float flushed(float x) { return std::fabs(x) < kSmallest ? std::copysign(0.0f, x) : x; }

// A result that is 2^-126 only because denormals are coarse was smaller: rounded to 24 bits it
// would be 2^-126 (1 - 2^-24). a * b is exact in double, the sum is made so by its error term.
bool was_smaller(float a, float b, float c) {
  const double product = double{a} * b, sum = product + c;
  const double other = sum - product, error = (product - (sum - other)) + (c - other);
  const double sign = sum < 0 ? -1 : 1, least = 0x1p-126 * (1 - 0x1p-25);
  return sign * sum < least || (sign * sum == least && sign * error < 0);
}

float fused(float a, float b, float c) {
  a = flushed(a);
  b = flushed(b);
  const float result = std::fma(a, b, c);
  if (std::fabs(result) == kSmallest && was_smaller(a, b, c)) return std::copysign(0.0f, result);
  return flushed(result);
}

float added(float a, float b) { return flushed(flushed(a) + flushed(b)); }

}  // namespace

uint16_t round_bf16(float value) {
  if (std::isnan(value)) return 0x7fc0;
  const float x = flushed(value);
  return f32_to_bf16(x);
}

float sum_bf16(int64_t steps, const std::function<uint16_t(int64_t)>& a,
               const std::function<uint16_t(int64_t)>& b, float start) {
  float y = start;
  for (int64_t first = 0; first < steps; first += kBf16Block) {
    float sums[2] = {0, 0};
    for (int64_t s = first; s < first + kBf16Block; ++s) {
      float& sum = sums[(s - first) % 2];
      sum = s < steps ? fused(bf16_to_f32(a(s)), bf16_to_f32(b(s)), sum) : fused(0, 0, sum);
    }
    y = added(y, added(sums[0], sums[1]));
  }
  return y;
}

}  // namespace dure::ref
