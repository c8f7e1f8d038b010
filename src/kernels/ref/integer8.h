// kernels/ref/integer8.h: the slow twin of Arithmetic::kInteger8, written as arithmetic.h states
// it: integers in int64, each f32 operation by itself. Fast bodies equal it in bits.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/weight.h"

namespace dure::ref {

// One row of x in 8 bits.
struct Row8 {
  std::vector<int> values;    // [K]
  std::vector<float> scales;  // [K / block]
};
Row8 round_row(const float* x, int64_t count, int64_t block);

// y[n] for one row of x: [K] against w: [N, K].
std::vector<float> linear_integer8(ConstTensorView w, const float* x);

}  // namespace dure::ref
