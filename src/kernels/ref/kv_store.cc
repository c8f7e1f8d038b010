// Element by element: each looks for the largest of its 32 by itself.
#include "kernels/ref/kv_store.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/dtype.h"

namespace dure::ref {
namespace {

// Of the block that holds element i; NaN: it cannot be kept.
float scale_of(std::span<const float> x, size_t i) {
  const size_t begin = i / 32 * 32;
  float largest = 0;
  for (size_t k = begin; k < begin + 32; ++k) {
    if (!std::isfinite(x[k])) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, std::fabs(x[k]));
  }
  const float scale = f16_to_f32(f32_to_f16(largest / 127));
  return std::isfinite(scale) ? scale : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace

std::vector<float> kept_in_q8_0(std::span<const float> x) {
  std::vector<float> kept;
  for (size_t i = 0; i < x.size(); ++i) {
    const float scale = scale_of(x, i);
    const bool coded = scale != 0 && std::isfinite(scale);
    const long code = coded ? std::lrint(x[i] / scale) : 0;
    kept.push_back(static_cast<float>(std::clamp(code, -127L, 127L)) * scale);
  }
  return kept;
}

}  // namespace dure::ref
