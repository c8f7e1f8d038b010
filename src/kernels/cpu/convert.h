// kernels/cpu/convert.h: kernels/convert.h on the CPU; calls are checked there.
#pragma once

#include "tensor/cpu_stream.h"
#include "tensor/tensor_view.h"

namespace dure::cpu {

void widen(ConstTensorView in, TensorView out, CpuStream& stream);

}  // namespace dure::cpu
