// kernels/cpu/integer8.h: the products of Arithmetic::kInteger8 on the CPU.
//
// Work is cut into tiles of 16 columns (rows of the weight). A task takes each tile's weights apart
// once per 256 elements of k, into a panel that lies in the level-1 cache, and multiplies it with
// every row of x it has: prefill and decode are the same code. Rows of x are rounded once and read
// by every product of a call. Panels are taken apart and multiplied by the instruction set in use
// (integer8_panel.h); bits do not depend on it.
#pragma once

#include "kernels/linear.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

// Parts e own the rows [offsets[e], offsets[e+1]) of each y; take: [rows] i32, the row of x for
// each, or empty for row r itself. All products have weights of arithmetic kInteger8.
void integer8(std::span<const Product> products, std::span<const int64_t> offsets,
              ConstTensorView take, ConstTensorView x, CpuStream& stream);

}  // namespace dure::cpu
