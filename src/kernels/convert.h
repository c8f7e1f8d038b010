// kernels/convert.h: stored elements to f32, exactly.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

// out: f32, as many elements as `in`, which is F32, F16, BF16, F64 (rounded) or a block type.
// Throws kUnsupported for other types.
void widen(ConstTensorView in, TensorView out, Stream& stream);

}  // namespace dure
