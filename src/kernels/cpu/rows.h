// kernels/cpu/rows.h: kernels/rows.h on the CPU; calls are checked there.
#pragma once

#include "kernels/weight.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

void embedding(const WeightView& table, ConstTensorView ids, TensorView y, CpuStream& stream);
void embedding_backward(ConstTensorView ids, ConstTensorView dy, TensorView dtable,
                        CpuStream& stream);
void gather_rows(ConstTensorView x, ConstTensorView from, TensorView y, CpuStream& stream);
void scatter_rows(ConstTensorView x, ConstTensorView to, TensorView y, CpuStream& stream);
void compact_rows(TensorView x, ConstTensorView from, CpuStream& stream);
void add_to(ConstTensorView x, TensorView y, CpuStream& stream);
void scale_by(float factor, TensorView y, CpuStream& stream);
void copy_to(ConstTensorView x, TensorView y, CpuStream& stream);
void zero(TensorView y, CpuStream& stream);
void fill(TensorView y, float value, CpuStream& stream);
void concat_columns(ConstTensorView a, ConstTensorView b, TensorView y, CpuStream& stream);
void split_columns(ConstTensorView y, TensorView a, TensorView b, CpuStream& stream);
void add_squares(ConstTensorView x, ConstTensorView offsets, TensorView sums, CpuStream& stream);
void add_sum(ConstTensorView x, TensorView total, CpuStream& stream);

}  // namespace dure::cpu
