// kernels/cpu/router.h: kernels/router.h on the CPU; calls are checked there.
#pragma once

#include "kernels/router.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

constexpr int64_t kExpertsMax = 1024;
constexpr int64_t kSlotsMax = 64;

void route(const RouterFacts& facts, ConstTensorView logits, ConstTensorView bias,
           TensorView probabilities, TensorView experts, TensorView weights, CpuStream& stream);
void route_backward(const RouterFacts& facts, ConstTensorView probabilities,
                    ConstTensorView experts, ConstTensorView dweights, TensorView dlogits,
                    CpuStream& stream);
void sequence_balance(const RouterFacts& facts, ConstTensorView probabilities,
                      ConstTensorView experts, ConstTensorView document_offsets,
                      const BalanceScales& scales, TensorView loss, TensorView dlogits,
                      CpuStream& stream);
void count_experts(ConstTensorView experts, TensorView counts, CpuStream& stream);
void move_router_bias(ConstTensorView counts, double rate, TensorView bias, CpuStream& stream);
void dispatch_experts(ConstTensorView experts, const RouterFacts& facts,
                      const ExpertDispatch& dispatch, CpuStream& stream);
void select_tokens(const ExpertDispatch& dispatch, int64_t first, int64_t count, TensorView offsets,
                   TensorView rows, CpuStream& stream);
void combine_experts(const ExpertDispatch& dispatch, ConstTensorView rows, ConstTensorView weights,
                     ConstTensorView shared, TensorView y, CpuStream& stream);
void combine_experts_backward(const ExpertDispatch& dispatch, ConstTensorView rows,
                              ConstTensorView weights, ConstTensorView dy, TensorView drows,
                              TensorView dweights, CpuStream& stream);
void gather_experts_backward(const ExpertDispatch& dispatch, ConstTensorView drows, TensorView dx,
                             CpuStream& stream);

}  // namespace dure::cpu
