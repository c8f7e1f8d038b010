// kernels/random.h: fresh weights.
#pragma once

#include <cstdint>

#include "tensor/tensor_view.h"

namespace dure {

struct NormalDraw {
  uint64_t seed = 0, stream = 0;  // element i depends on these and i alone
  int64_t first = 0;              // i of y's first element
  double deviation = 1;
};

struct UniformDraw {
  uint64_t seed = 0, stream = 0;
  int64_t first = 0;  // as above
  double bound = 1;
};

// y: f32 = normal(0, deviation). Pairs (2j, 2j+1) share Philox block j of the stream, through
// Box-Muller in double.
void fill_normal(TensorView y, const NormalDraw& draw, Stream& stream);

// y: f32 = uniform in [-bound, bound): element i is word i % 4 of Philox block i / 4 of the stream,
// as 32 bits of [0, 1).
void fill_uniform(TensorView y, const UniformDraw& draw, Stream& stream);

}  // namespace dure
