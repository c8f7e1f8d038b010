// kernels/arithmetic.h: how a product with a weight rounds: a property of the weight, with an order
// of operations of its own that every instruction set keeps.
//
// kExact: y[m, n] is one f32 accumulator from 0, fused multiply-adds over k ascending, weights
// widened or decoded to f32 exactly. Every type. Training, scoring and golden comparisons.
//
// kInteger8: for types with an integer form (integer_block.h). Row m of x is cut into blocks of the
// type's block length A (256 or 32); of each block
//     scale = max|x| / 127 (f32 division; 0 where max|x| < 2^-100),
//     q[k] = x[k] * (127 / max|x|), to the nearest integer, ties to even, within +-127.
// Then over the blocks, ascending, y = 0 first, with exact integer sums S and L:
//     S = sum over sub-blocks b of scales[b] * sum over k of (values[k] - offset) * q[k]
//     y = fma(f32(S), d * scale, y)
//     L = sum over b of minima[b] * sum over k of q[k];  y = fma(f32(L), -(low * scale), y)
// the last line only for types with minima; f32() rounds to the nearest even; products of two
// scales are rounded once. A block of x that is not finite makes y NaN. So the bits depend on
// neither M, the other rows, the threads nor the instruction set; integers are exact whatever
// multiplies them. Twin: ref/integer8.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace dure {

enum class Arithmetic : uint8_t { kExact, kInteger8 };

std::string_view arithmetic_name(Arithmetic arithmetic);  // "exact", "integer8"
std::optional<Arithmetic> arithmetic_from_name(std::string_view name);
bool arithmetic_supports(Arithmetic arithmetic, DType dtype);

}  // namespace dure
