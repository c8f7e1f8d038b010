// kernels/cpu/optimiser.h: kernels/optimiser.h on the CPU; calls are checked there.
#pragma once

#include "kernels/optimiser.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

void adamw(std::span<const AdamWTensor> tensors, const AdamWStep& step, CpuStream& stream);
void muon(std::span<const MuonTensor> tensors, const MuonStep& step, TensorView workspace,
          CpuStream& stream);
void orthogonalise(TensorView x, int iterations, TensorView workspace, CpuStream& stream);
double sum_of_squares(std::span<const ConstTensorView> tensors, CpuStream& stream);
int64_t squares_chunk_count(int64_t elements);
void squares_by_chunk(std::span<const ConstTensorView> tensors, std::span<double> sums,
                      CpuStream& stream);
double sum_of_chunks(std::span<double> sums);

}  // namespace dure::cpu
