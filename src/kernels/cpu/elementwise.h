// kernels/cpu/elementwise.h: kernels/elementwise.h on the CPU; calls are checked there.
#pragma once

#include "kernels/elementwise.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

void swiglu(ConstTensorView gate, ConstTensorView up, const SwigluFacts& facts, TensorView h,
            CpuStream& stream);
void swiglu_backward(ConstTensorView gate, ConstTensorView up, const SwigluFacts& facts,
                     ConstTensorView dh, TensorView dgate, TensorView dup, CpuStream& stream);

}  // namespace dure::cpu
