// kernels/linear.h: y = x w^T and its gradients, one matrix or a stack of experts.
//
// Symbols: M rows (tokens), K in, N out, E experts. x: [M, K], w: [N, K], y: [M, N], all row-major,
// x and y f32. Order contract: y[m, n] is one f32 accumulator from 0, fused multiply-adds over k
// ascending, weights widened to f32 exactly. It depends on neither M, the other rows, the threads
// nor the instruction set. Input gradient: one accumulator over n ascending. Weight gradient: over
// m ascending, started from what dw holds. Block-quantised weights: decoded to f32 exactly, then
// the same order. Outputs overlap no input. Bodies: cpu/linear.cc;
// ref/linear.h (double).
#pragma once

#include "kernels/weight.h"
#include "kernels/write.h"

namespace dure {

void linear(const WeightView& w, ConstTensorView x, TensorView y, Stream& stream);
// dx: [M, K] = dy [M, N] w, or += .
void linear_input_gradient(const WeightView& w, ConstTensorView dy, TensorView dx, Write write,
                           Stream& stream);
// dw: [N, K] += dy^T x. f32.
void linear_weight_gradient(ConstTensorView dy, ConstTensorView x, TensorView dw, Stream& stream);

// Experts. Rows are sorted by expert: expert e owns rows [offsets[e], offsets[e+1]); offsets:
// [E+1] i64, empty experts allowed. w: [E, N, K]. Row results equal linear() of that row with that
// expert's matrix, bit for bit.
void grouped_linear(const WeightView& w, ConstTensorView offsets, ConstTensorView x, TensorView y,
                    Stream& stream);
void grouped_linear_input_gradient(const WeightView& w, ConstTensorView offsets, ConstTensorView dy,
                                   TensorView dx, Write write, Stream& stream);
void grouped_linear_weight_gradient(ConstTensorView offsets, ConstTensorView dy, ConstTensorView x,
                                    TensorView dw, Stream& stream);

}  // namespace dure
