// kernels/linear.h: y = x w^T and its gradients, one matrix or a stack of experts.
//
// Symbols: M rows (tokens), K in, N out, E experts. x: [M, K], w: [N, K], y: [M, N], all row-major,
// x and y f32. Order contract: that of the weight's arithmetic (arithmetic.h). It depends on
// neither M, the other rows, the threads nor the instruction set. Gradients are exact for weights
// of kInteger8 too: weights widened or decoded to f32, fused multiply-adds; input gradient: one
// accumulator over n ascending; weight gradient: over m ascending, started from what dw holds. With
// kBf16 both have its order, blocks over n and over m (of an expert: its own rows, from its first
// one on), and start from what is added to. Outputs overlap no input. Bodies: cpu/linear.cc,
// cpu/integer8.cc, cpu/bf16.cc; twins: ref/linear.h (double), ref/integer8.h, ref/bf16.h.
#pragma once

#include <span>

#include "kernels/weight.h"
#include "kernels/write.h"

namespace dure {

// Products that read the same x; an arithmetic that prepares x does so once for all of them.
struct Product {
  const WeightView& w;
  TensorView y;
};
void linear(std::span<const Product> products, ConstTensorView x, Stream& stream);
void linear(const WeightView& w, ConstTensorView x, TensorView y, Stream& stream);
// dx: [M, K] = dy [M, N] w, or += .
void linear_input_gradient(const WeightView& w, ConstTensorView dy, TensorView dx, Write write,
                           Stream& stream);
// dw: [N, K] += dy^T x. f32. Exact, or kBf16 for the gradient of a weight that multiplies so.
void linear_weight_gradient(ConstTensorView dy, ConstTensorView x, TensorView dw,
                            Arithmetic arithmetic, Stream& stream);

// Experts. Rows are sorted by expert: expert e owns rows [offsets[e], offsets[e+1]); offsets:
// [E+1] i64, empty experts allowed. w: [E, N, K]. Row results equal linear() of that row with that
// expert's matrix, bit for bit.
void grouped_linear(std::span<const Product> products, ConstTensorView offsets, ConstTensorView x,
                    Stream& stream);
void grouped_linear(const WeightView& w, ConstTensorView offsets, ConstTensorView x, TensorView y,
                    Stream& stream);
// The same without a gathered copy: row r of each y is of row take[r] of x. take: [R] i32. Checked:
// every w multiplies as kInteger8 (takes_rows()).
void grouped_linear_take(std::span<const Product> products, ConstTensorView offsets,
                         ConstTensorView take, ConstTensorView x, Stream& stream);
inline bool takes_rows(const WeightView& w) { return w.arithmetic == Arithmetic::kInteger8; }
void grouped_linear_input_gradient(const WeightView& w, ConstTensorView offsets, ConstTensorView dy,
                                   TensorView dx, Write write, Stream& stream);
void grouped_linear_weight_gradient(ConstTensorView offsets, ConstTensorView dy, ConstTensorView x,
                                    TensorView dw, Arithmetic arithmetic, Stream& stream);

}  // namespace dure
