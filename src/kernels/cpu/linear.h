// kernels/cpu/linear.h: the exact products of kernels/linear.h on the CPU; shapes are checked
// there, offsets in matmul.h.
#pragma once

#include <span>

#include "kernels/weight.h"
#include "kernels/write.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

// Part e owns rows [offsets[e], offsets[e+1]); one matrix: offsets {0, M}.
void exact(const WeightView& w, std::span<const int64_t> offsets, ConstTensorView x, TensorView y,
           CpuStream& stream);
void exact_input_gradient(const WeightView& w, std::span<const int64_t> offsets, ConstTensorView dy,
                          TensorView dx, Write write, CpuStream& stream);
void exact_weight_gradient(std::span<const int64_t> offsets, ConstTensorView dy, ConstTensorView x,
                           TensorView dw, CpuStream& stream);

}  // namespace dure::cpu
