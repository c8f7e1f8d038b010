// kernels/cpu/random.h: kernels/random.h on the CPU.
#pragma once

#include "kernels/random.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

void fill_normal(TensorView y, const NormalDraw& draw, CpuStream& stream);
void fill_uniform(TensorView y, const UniformDraw& draw, CpuStream& stream);

}  // namespace dure::cpu
