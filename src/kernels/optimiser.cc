// Checks of optimiser.h, then the device's own bodies.
#include "kernels/optimiser.h"

#include <algorithm>

#include "kernels/cpu/optimiser.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

void check_like(ConstTensorView weight, ConstTensorView other) {
  weight.expect(DType::kF32);
  other.expect(DType::kF32);
  DURE_CHECK(weight.shape == other.shape, "{} beside {}", weight.shape.text(), other.shape.text());
}

void check_workspace(const Shape& shape, ConstTensorView workspace, Stream& stream) {
  const int64_t needed = muon_workspace_floats(shape, stream.host_threads().thread_count());
  workspace.expect(DType::kF32);
  DURE_CHECK(workspace.elements() >= needed, "a workspace of {}, {} needed", workspace.elements(),
             needed);
}

}  // namespace

void adamw(std::span<const AdamWTensor> tensors, const AdamWStep& step, Stream& stream) {
  DURE_CHECK(step.step >= 1, "step {}", step.step);
  for (const AdamWTensor& t : tensors) {
    check_like(t.weight, t.gradient);
    check_like(t.weight, t.first);
    check_like(t.weight, t.second);
  }
  dispatch(stream, [&](CpuStream& s) { cpu::adamw(tensors, step, s); });
}

void muon(std::span<const MuonTensor> tensors, const MuonStep& step, TensorView workspace,
          Stream& stream) {
  for (const MuonTensor& t : tensors) {
    check_like(t.weight, t.gradient);
    check_like(t.weight, t.momentum);
    check_workspace(t.weight.shape, workspace, stream);
  }
  dispatch(stream, [&](CpuStream& s) { cpu::muon(tensors, step, workspace, s); });
}

int64_t muon_workspace_floats(const Shape& shape, int64_t workers) {
  DURE_CHECK(shape.rank() == 2 || shape.rank() == 3, "{} is no matrix or stack", shape.text());
  const int64_t rows = shape[shape.rank() - 2], columns = shape.back();
  const int64_t least = std::min(rows, columns);
  return workers * 2 * (rows * columns + least * least);
}

void orthogonalise(TensorView x, int iterations, TensorView workspace, Stream& stream) {
  check_workspace(x.shape, workspace, stream);
  dispatch(stream, [&](CpuStream& s) { cpu::orthogonalise(x, iterations, workspace, s); });
}

double sum_of_squares(std::span<const ConstTensorView> tensors, Stream& stream) {
  for (const ConstTensorView& t : tensors) t.expect(DType::kF32);
  return dispatch(stream, [&](CpuStream& s) { return cpu::sum_of_squares(tensors, s); });
}

int64_t squares_chunk_count(int64_t elements) { return cpu::squares_chunk_count(elements); }

void squares_by_chunk(std::span<const ConstTensorView> tensors, std::span<double> sums,
                      Stream& stream) {
  int64_t count = 0;
  for (const ConstTensorView& t : tensors) {
    t.expect(DType::kF32);
    count += squares_chunk_count(t.elements());
  }
  DURE_CHECK(count == std::ssize(sums), "{} sums for {} chunks", sums.size(), count);
  dispatch(stream, [&](CpuStream& s) { cpu::squares_by_chunk(tensors, sums, s); });
}

double sum_of_chunks(std::span<double> sums) { return cpu::sum_of_chunks(sums); }

}  // namespace dure
