// The sums of arithmetic.h, one block after another.
#include "kernels/ref/integer8.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/integer_block.h"

namespace dure::ref {
namespace {

// Sums of one block: S and L.
struct BlockSums {
  int64_t weighted = 0, low = 0;
};

BlockSums sums(const IntegerFormat& format, const IntegerBlock& w, const int* q) {
  BlockSums out;
  for (int k = 0; k < format.elements; ++k) {
    const int b = k / format.sub_block;
    out.weighted += int64_t{w.scales[b]} * (w.values[k] - format.offset) * q[k];
    if (format.minima) out.low += int64_t{w.minima[b]} * q[k];
  }
  return out;
}

}  // namespace

Row8 round_row(const float* x, int64_t count, int64_t block) {
  Row8 out;
  for (int64_t first = 0; first < count; first += block) {
    float largest = 0;
    bool finite = true;
    for (int64_t k = first; k < first + block; ++k) {
      finite = finite && std::isfinite(x[k]);
      largest = std::max(largest, std::abs(x[k]));
    }
    const bool zero = largest < 0x1p-100f;
    out.scales.push_back(!finite ? std::numeric_limits<float>::quiet_NaN()
                         : zero  ? 0.0f
                                 : largest / 127);
    const float up = zero || !finite ? 0.0f : 127 / largest;
    for (int64_t k = first; k < first + block; ++k) {
      const float value = finite ? std::nearbyint(x[k] * up) : 0.0f;
      out.values.push_back(static_cast<int>(std::clamp(value, -127.0f, 127.0f)));
    }
  }
  return out;
}

std::vector<float> linear_integer8(ConstTensorView w, const float* x) {
  const IntegerFormat* const format = integer_format(w.dtype);
  DURE_CHECK(format != nullptr, "{} has no integer form", dtype_info(w.dtype).name);
  const int64_t n = w.dim(0), k = w.dim(1), blocks = k / format->elements;
  const Row8 row = round_row(x, k, format->elements);
  const auto* bytes = static_cast<const uint8_t*>(w.data);
  std::vector<float> y(static_cast<size_t>(n));
  for (int64_t i = 0; i < n * blocks; ++i, bytes += dtype_info(w.dtype).block_bytes) {
    IntegerBlock block;
    take_apart(w.dtype, bytes, block);
    const int64_t g = i % blocks;
    const float scale = row.scales[static_cast<size_t>(g)];
    const BlockSums s = sums(*format, block, row.values.data() + g * format->elements);
    float& out = y[static_cast<size_t>(i / blocks)];
    out = std::fma(static_cast<float>(s.weighted), block.d * scale, out);
    if (format->minima) out = std::fma(static_cast<float>(s.low), -(block.low * scale), out);
  }
  return y;
}

}  // namespace dure::ref
