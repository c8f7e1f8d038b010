// kernels/ref/doubles.h: what the reference twins compute with: plain vectors of double, row-major,
// and conversions.
//
// The twins are written from the equations, one loop a sum, and share nothing with cpu/. Tests
// compare against them and differentiate through them; nothing else calls them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor_view.h"

namespace dure::ref {

using Doubles = std::vector<double>;
using DoubleSpan = std::span<const double>;

inline Doubles widen(ConstTensorView view) {
  const float* data = view.f32();
  return Doubles(data, data + view.elements());
}

}  // namespace dure::ref
