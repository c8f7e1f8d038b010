// kernels/cpu/integer8_round_simd.h: one row of x in 8 bits, as arithmetic.h rounds it for
// kInteger8.
#pragma once

#include <cstdint>

#include "kernels/cpu/integer8_panel.h"

namespace dure::cpu {

// x: [columns], columns a multiple of `block` (256 or 32). Row r of `out` is set, zeros behind its
// end. A block that is not finite gets the scale NaN and zeros.
void round_row(const float* x, int64_t columns, int block, int64_t r, const RoundedRows& out);

}  // namespace dure::cpu
