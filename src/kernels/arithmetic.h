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
//
// kBf16: for weights stored as BF16. The other factor is rounded to BF16 (to nearest, ties to even;
// what is below 2^-126 becomes a zero of its sign). The sum over s (k of a forward product, n of an
// input gradient, m of a weight gradient) is cut into blocks of 32 from s = 0 of that sum on, zeros
// of both factors filling up the last. Of a block two f32 accumulators, each from +0,
//     even = fma(a[s], b[s], even) over even s ascending,  odd the same over odd s,
//     y = y + (even + odd)
// y before the first block: +0, or what the output holds where it is added to. Every operand and
// every result of these operations that is below 2^-126 counts as a zero of its sign (smallness
// judged after rounding); roundings are to the nearest even; a NaN is any NaN. It is the order of
// AMX's tdpbf16ps (one instruction a block), so that bits depend on the instruction set as little
// as on M, the other rows and the threads. Bodies on vectors set the processor's own flushing
// (MXCSR) for the time of a task; on a processor without that register the same holds wherever no
// number below 2^-126 turns up. Gradients of such a weight have this arithmetic too. Twin:
// ref/bf16.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace dure {

enum class Arithmetic : uint8_t { kExact, kInteger8, kBf16 };

// Elements of a block of kBf16.
constexpr int64_t kBf16Block = 32;

std::string_view arithmetic_name(Arithmetic arithmetic);  // "exact", "integer8", "bf16"
std::optional<Arithmetic> arithmetic_from_name(std::string_view name);
bool arithmetic_supports(Arithmetic arithmetic, DType dtype);

}  // namespace dure
