// kernels/rows.h: moving and adding whole rows and tensors: embedding, gathers and scatters by
// index, copies, sums. Bytes are copied, sums are in f32 unless said.
#pragma once

#include "kernels/weight.h"

namespace dure {

// y: [T, D] = table[ids[t]] widened to f32; ids: [T] i32; table: [V, D] F32, BF16, F16 or a block
// type. Checked: 0 <= id < V.
void embedding(const WeightView& table, ConstTensorView ids, TensorView y, Stream& stream);
// dtable: [V, D] += dy rows, tokens ascending for each id.
void embedding_backward(ConstTensorView ids, ConstTensorView dy, TensorView dtable, Stream& stream);

// y: [N, D] = x[from[n]]; from: [N] i32. f32.
void gather_rows(ConstTensorView x, ConstTensorView from, TensorView y, Stream& stream);
// y[to[n]] = x[n]; to: [N] i32, no row twice. Other rows of y stay. f32.
void scatter_rows(ConstTensorView x, ConstTensorView to, TensorView y, Stream& stream);
// x[n] = x[from[n]] in place, n ascending; from: [N] i32 with from[n] >= n, ascending. f32.
void compact_rows(TensorView x, ConstTensorView from, Stream& stream);

void add_to(ConstTensorView x, TensorView y, Stream& stream);   // y += x
void scale_by(float factor, TensorView y, Stream& stream);      // y *= factor, one rounding each
void copy_to(ConstTensorView x, TensorView y, Stream& stream);  // y = x, of any type
void zero(TensorView y, Stream& stream);                        // of any type
void fill(TensorView y, float value, Stream& stream);
// y: [R, A+B] = [a ; b], and the reverse: a =, b =.
void concat_columns(ConstTensorView a, ConstTensorView b, TensorView y, Stream& stream);
void split_columns(ConstTensorView y, TensorView a, TensorView b, Stream& stream);

// Rows of x are sorted by group: group g owns rows [offsets[g], offsets[g+1]); offsets: [E+1] i64.
// sums: [E, K] f64 += the squares of its rows' elements, rows ascending. x: [R, K].
void add_squares(ConstTensorView x, ConstTensorView offsets, TensorView sums, Stream& stream);
// total: [1] f64 += x, elements ascending, one addition each.
void add_sum(ConstTensorView x, TensorView total, Stream& stream);

}  // namespace dure
