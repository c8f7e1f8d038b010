// kernels/cpu/attention.h: kernels/attention.h on the CPU; calls are checked there.
#pragma once

#include "kernels/attention.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

void attention(const AttentionShape& shape, std::span<const AttentionSegment> segments,
               ConstTensorView q, ConstTensorView sinks, TensorView out, TensorView log_sum_exp,
               CpuStream& stream);
void attention_backward(const AttentionShape& shape, std::span<const AttentionSegment> segments,
                        const AttentionForward& forward, ConstTensorView dout, TensorView dq,
                        TensorView dk, TensorView dv, CpuStream& stream);
void attention_sink_gradient(const AttentionShape& shape, ConstTensorView sinks,
                             const AttentionForward& forward, ConstTensorView dout,
                             TensorView dsinks, CpuStream& stream);

}  // namespace dure::cpu
