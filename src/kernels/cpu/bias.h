// kernels/cpu/bias.h: kernels/bias.h on the CPU; calls are checked there.
#pragma once

#include "kernels/bias.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

void add_bias(ConstTensorView bias, TensorView y, CpuStream& stream);
void bias_gradient(ConstTensorView dy, TensorView dbias, CpuStream& stream);
void add_grouped_bias(ConstTensorView bias, ConstTensorView offsets, TensorView y,
                      CpuStream& stream);
void grouped_bias_gradient(ConstTensorView offsets, ConstTensorView dy, TensorView dbias,
                           CpuStream& stream);

}  // namespace dure::cpu
