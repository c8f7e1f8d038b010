// kernels/cpu/bf16.h: the products of Arithmetic::kBf16 on the CPU, as stacks of products
// (matmul.h): the factor that is not a weight is rounded once a call, into scratch.
//
// Not here: the sums themselves (matmul_bf16.h), copies of f32 weights (model/weights.h).
#pragma once

#include "kernels/linear.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

// Part e owns rows [offsets[e], offsets[e+1]); one matrix: offsets {0, M}.
void bf16(std::span<const Product> products, std::span<const int64_t> offsets, ConstTensorView x,
          CpuStream& stream);
void bf16_input_gradient(const WeightView& w, std::span<const int64_t> offsets, ConstTensorView dy,
                         TensorView dx, Write write, CpuStream& stream);
void bf16_weight_gradient(std::span<const int64_t> offsets, ConstTensorView dy, ConstTensorView x,
                          TensorView dw, CpuStream& stream);

// out: BF16 of the elements of x, rounded as Arithmetic::kBf16 says.
void round_to_bf16(ConstTensorView x, TensorView out, CpuStream& stream);
// The same of one stretch, by the instruction set in use.
void round_span_bf16(const float* x, int64_t count, uint16_t* out);

}  // namespace dure::cpu
