// kernels/ref/bias.h: biases and their gradients in double; a plain bias is one group of all rows.
// Definitions: kernels/bias.h.
#pragma once

#include "kernels/ref/doubles.h"

namespace dure::ref {

// y: [R, C] plus, for rows offsets[e] .. offsets[e+1], bias[e]: [C].
inline Doubles add_bias(DoubleSpan bias, int64_t columns, std::span<const int64_t> offsets,
                        DoubleSpan y) {
  Doubles out(y.begin(), y.end());
  const auto width = static_cast<size_t>(columns);
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    for (auto i = static_cast<size_t>(offsets[e]) * width;
         i < static_cast<size_t>(offsets[e + 1]) * width; ++i)
      out[i] += bias[e * width + i % width];
  }
  return out;
}

// [E, C]
inline Doubles bias_gradient(DoubleSpan dy, int64_t columns, std::span<const int64_t> offsets) {
  const auto width = static_cast<size_t>(columns);
  Doubles out((offsets.size() - 1) * width);
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    for (auto i = static_cast<size_t>(offsets[e]) * width;
         i < static_cast<size_t>(offsets[e + 1]) * width; ++i)
      out[e * width + i % width] += dy[i];
  }
  return out;
}

}  // namespace dure::ref
