// kernels/convert.h: stored elements to f32, exactly; and to other plain types.
#pragma once

#include <string>

#include "tensor/narrowing.h"
#include "tensor/tensor_view.h"

namespace dure {

// out: f32, as many elements as `in`, which is F32, F16, BF16, F64 (rounded) or a block type.
// Throws kUnsupported for other types.
void widen(ConstTensorView in, TensorView out, Stream& stream);

// out: BF16, as many elements as x (f32), rounded as Arithmetic::kBf16 rounds (arithmetic.h).
void round_to_bf16(ConstTensorView x, TensorView out, Stream& stream);

// out: [count] = the first elements of the stored row at `row`, in host memory; F32, F16, BF16 or a
// block type.
void widen_row(DType dtype, const void* row, int64_t count, float* out);

// Elements [first, first + count) of a tensor in host memory (F32, BF16, F16 or a block type) in
// the plain type of `to`, as bytes; throws as it does where the type cannot hold one. Rows are
// whole blocks, so a flat stretch of elements is a flat stretch of blocks.
void convert_elements(ConstTensorView host, int64_t first, int64_t count, Narrowing& to,
                      std::string& out);

// Whether every element of a plain tensor in host memory is the same number in the type `to` (BF16,
// F16).
bool fits_exactly(ConstTensorView host, DType to);

}  // namespace dure
