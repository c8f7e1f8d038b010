// kernels/elementwise.h: embedding rows, SwiGLU, additions, copies: one output element from few
// inputs.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/weight.h"

namespace dure {

// y: [T, D] = table[ids[t]] widened to f32; table: [V, D] F32, BF16, F16 or a block type. Checked:
// 0 <= id < V.
void embedding(const WeightView& table, std::span<const int32_t> ids, TensorView y, Stream& stream);
// dtable: [V, D] += dy rows, tokens ascending for each id.
void embedding_backward(std::span<const int32_t> ids, TensorView dy, TensorView dtable,
                        Stream& stream);

// h = silu(g) * u with g = min(gate, limit), u = clamp(up, -limit, limit) where limit > 0. gate,
// up, h: [R, F]. h may be gate.
void swiglu(TensorView gate, TensorView up, double limit, TensorView h, Stream& stream);
// dgate, dup: [R, F] =. dgate may be gate's own memory, dup may be up's.
void swiglu_backward(TensorView gate, TensorView up, double limit, TensorView dh, TensorView dgate,
                     TensorView dup, Stream& stream);

void add_to(TensorView x, TensorView y, Stream& stream);   // y += x
void copy_to(TensorView x, TensorView y, Stream& stream);  // y = x
void zero(TensorView y, Stream& stream);
void concat_columns(TensorView a, TensorView b, TensorView y,
                    Stream& stream);  // y: [R, A+B] = [a ; b]
void split_columns(TensorView y, TensorView a, TensorView b,
                   Stream& stream);  // the reverse: a =, b =

}  // namespace dure
