// kernels/cpu/elementwise.h: kernels/elementwise.h on the CPU; calls are checked there.
#pragma once

#include "tensor/cpu_stream.h"
#include "tensor/tensor_view.h"

namespace dure::cpu {

void swiglu(ConstTensorView gate, ConstTensorView up, double limit, TensorView h,
            CpuStream& stream);
void swiglu_backward(ConstTensorView gate, ConstTensorView up, double limit, ConstTensorView dh,
                     TensorView dgate, TensorView dup, CpuStream& stream);

}  // namespace dure::cpu
