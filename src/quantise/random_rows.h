// quantise/random_rows.h: noise in any stored type, for files that no training stands behind.
//
// Owns where a block keeps its scales: every other byte is random, the scales are set, so that the
// values have the wanted size and nothing overflows. Not here: encoding given values
// (block_encode.h), which tensors a file has (slice.h).
#pragma once

#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace dure {

// F32, F16, BF16, and every block type whose scale is one f16 in a place of its own (of the block
// types that are decoded, all but IQ1_M, MXFP4 and NVFP4).
bool has_random_rows(DType dtype);

// Values with mean 0 and root mean square `rms`, as far as an f16 scale can name it; the same bytes
// for the same key. `out`: whole elements or blocks of `dtype` (checked; so is has_random_rows()).
void fill_random(DType dtype, double rms, uint64_t key, std::span<uint8_t> out);

}  // namespace dure
