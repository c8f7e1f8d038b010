// kernels/bias.h: the biases of products: one vector added to every row, one vector an expert, and
// their gradients. All in f32.
//
// Symbols: R rows, C columns, E experts. Rows of a group: as in linear.h, sorted by expert, expert
// e owns rows [offsets[e], offsets[e+1]); offsets: [E+1] i64. One addition an element, after the
// product; a gradient adds its rows in ascending order to what stands. The same bits for any
// threads and instruction set. Twin: ref/bias.h.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

// y: [R, C] += bias [C], to every row.
void add_bias(ConstTensorView bias, TensorView y, Stream& stream);
// dbias: [C] += the rows of dy [R, C].
void bias_gradient(ConstTensorView dy, TensorView dbias, Stream& stream);

// y: [R, C] += bias [E, C], to every row that of its expert.
void add_grouped_bias(ConstTensorView bias, ConstTensorView offsets, TensorView y, Stream& stream);
// dbias: [E, C] += of each expert its rows of dy [R, C].
void grouped_bias_gradient(ConstTensorView offsets, ConstTensorView dy, TensorView dbias,
                           Stream& stream);

}  // namespace dure
