// Checks of bias.h, then the device's own bodies.
#include "kernels/bias.h"

#include "kernels/cpu/bias.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

// rows: [R, C]; vectors: [C], or [E, C].
void check_rows(ConstTensorView rows, ConstTensorView vectors, int rank) {
  rows.expect(DType::kF32);
  vectors.expect(DType::kF32);
  DURE_CHECK(rows.shape.rank() == 2 && vectors.shape.rank() == rank &&
                 rows.shape.back() == vectors.shape.back(),
             "biases {} of rows {}", vectors.shape.text(), rows.shape.text());
}

void check_groups(ConstTensorView rows, ConstTensorView vectors, ConstTensorView offsets) {
  check_rows(rows, vectors, 2);
  offsets.expect(DType::kI64);
  DURE_CHECK(offsets.elements() == vectors.dim(0) + 1, "{} offsets for {} experts",
             offsets.elements(), vectors.dim(0));
}

}  // namespace

void add_bias(ConstTensorView bias, TensorView y, Stream& stream) {
  check_rows(y, bias, 1);
  dispatch(stream, [&](CpuStream& s) { cpu::add_bias(bias, y, s); });
}

void bias_gradient(ConstTensorView dy, TensorView dbias, Stream& stream) {
  check_rows(dy, dbias, 1);
  dispatch(stream, [&](CpuStream& s) { cpu::bias_gradient(dy, dbias, s); });
}

void add_grouped_bias(ConstTensorView bias, ConstTensorView offsets, TensorView y, Stream& stream) {
  check_groups(y, bias, offsets);
  dispatch(stream, [&](CpuStream& s) { cpu::add_grouped_bias(bias, offsets, y, s); });
}

void grouped_bias_gradient(ConstTensorView offsets, ConstTensorView dy, TensorView dbias,
                           Stream& stream) {
  check_groups(dy, dbias, offsets);
  dispatch(stream, [&](CpuStream& s) { cpu::grouped_bias_gradient(offsets, dy, dbias, s); });
}

}  // namespace dure
