// kernels/cpu/cross_entropy.h: kernels/cross_entropy.h on the CPU; calls are checked there.
#pragma once

#include "kernels/cross_entropy.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

void token_log_probability(ConstTensorView logits, ConstTensorView targets,
                           TensorView log_probability, TensorView log_sum_exp, TensorView entropy,
                           CpuStream& stream);
void log_probability_backward(TensorView logits, ConstTensorView targets,
                              ConstTensorView log_sum_exp, ConstTensorView coefficient,
                              CpuStream& stream);

}  // namespace dure::cpu
