// kernels/block_decode.h: quantised blocks to f32, exactly as the format defines them
// (docs/gguf.md).
//
// The order of float operations is the reference decoder's, so that results agree bit for bit. All
// block types of tensor/dtype.h are decoded. Not here: whole tensors (convert.h), encoding
// (quantise/), products that read blocks directly (linear.h).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace dure {

// out: [block_count * block_elements]. blocks: any alignment. Checked: a block type.
void decode_blocks(DType dtype, const void* blocks, int64_t block_count, float* out);

// Elements [first, first + count) of the row of blocks at `row`; first and count need not be whole
// blocks.
void decode_elements(DType dtype, const void* row, int64_t first, int64_t count, float* out);

}  // namespace dure
