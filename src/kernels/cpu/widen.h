// kernels/cpu/widen.h: a stretch of one stored weight row as f32, exactly: F32, BF16, F16 and every
// block type.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace dure::cpu {

// out: [count] = elements [first, first + count) of the row at `row`. Checked: a type this build
// can read.
void widen(DType dtype, const void* row, int64_t first, int64_t count, float* out);
// Whether the matrix products can read weights of this type.
bool widen_supports(DType dtype);

}  // namespace dure::cpu
