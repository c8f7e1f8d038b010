// kernels/cpu/norm.h: kernels/norm.h on the CPU; calls are checked there.
#pragma once

#include "kernels/norm.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

constexpr int64_t kHeadWidthMax = 512;

void rms_norm(ConstTensorView x, ConstTensorView w, double epsilon, TensorView y,
              TensorView inverse_rms, CpuStream& stream);
void rms_norm_backward(ConstTensorView x, ConstTensorView w, ConstTensorView inverse_rms,
                       ConstTensorView dy, TensorView dx, Write write, TensorView dw,
                       CpuStream& stream);
void head_norm_rope(ConstTensorView x, ConstTensorView w, double epsilon, RopeTable rope,
                    ConstTensorView positions, TensorView y, TensorView inverse_rms,
                    CpuStream& stream);
void head_norm_rope_backward(ConstTensorView x, ConstTensorView w, RopeTable rope,
                             ConstTensorView positions, ConstTensorView inverse_rms,
                             ConstTensorView dy, TensorView dx, TensorView dw, CpuStream& stream);
void head_rope(ConstTensorView x, RopeTable rope, ConstTensorView positions, TensorView y,
               CpuStream& stream);
void head_rope_backward(ConstTensorView dy, RopeTable rope, ConstTensorView positions,
                        TensorView dx, CpuStream& stream);

}  // namespace dure::cpu
