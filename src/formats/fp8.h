// formats/fp8.h: 8-bit floating point weights with scales, as files store them, decoded to BF16.
//
// Layouts: compressed-tensors ("weight_scale": one value, one a row, or one a block) and
// block-scaled files
// ("weight_scale_inv", one a 128 x 128 block). Both multiply. Not here: finding the tensors
// (model_files.h).
#pragma once

#include <cstdint>

#include "tensor/tensor_view.h"

namespace dure {

float f8_e4m3_to_f32(uint8_t bits);  // Finite-only E4M3: no infinities, 0x7F and 0xFF are NaN.

// True where `scale` ([], [1], [R] or [R, 1], or [ceil(R/block), ceil(K/block)]) fits a weight [R,
// K].
bool fp8_scale_fits(const Shape& weight, const Shape& scale, int64_t block);

// out[r, k] = bf16(weight[r, k] * scale). weight: F8_E4M3 [R, K]; scale: F32, BF16 or F16, fitting;
// out: BF16 [R, K].
void decode_fp8(ConstTensorView weight, ConstTensorView scale, int64_t block, TensorView out);

}  // namespace dure
