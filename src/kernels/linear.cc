// Checks of linear.h, then the device's own bodies.
#include "kernels/linear.h"

#include "kernels/cpu/linear.h"
#include "kernels/cpu/widen.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

void check_rows(ConstTensorView t, int64_t rows, int64_t columns, const char* name) {
  t.expect(DType::kF32);
  DURE_CHECK(t.shape.rank() == 2 && t.dim(0) == rows && t.dim(1) == columns,
             "{} is {}, wanted [{}, {}]", name, t.shape.text(), rows, columns);
}

// x: [M, K] and y: [M, N] against w: [N, K], or a stack of them.
void check(const WeightView& w, int rank, ConstTensorView x, ConstTensorView y) {
  DURE_CHECK(w.data.shape.rank() == rank, "weights {}", w.data.shape.text());
  DURE_CHECK(cpu::widen_supports(w.dtype()), "weights of type {}", dtype_info(w.dtype()).name);
  check_rows(x, x.dim(0), w.columns(), "x or dx");
  check_rows(y, x.dim(0), w.rows(), "y or dy");
}

void check_offsets(ConstTensorView offsets, int64_t parts) {
  offsets.expect(DType::kI64);
  DURE_CHECK(offsets.elements() == parts + 1, "{} offsets for {} experts", offsets.elements(),
             parts);
}

void check_gradient(ConstTensorView dy, ConstTensorView x, ConstTensorView dw, int rank) {
  DURE_CHECK(dw.shape.rank() == rank, "dw is {}", dw.shape.text());
  check_rows(dy, x.dim(0), dw.dim(rank - 2), "dy");
  check_rows(x, x.dim(0), dw.shape.back(), "x");
}

}  // namespace

void linear(const WeightView& w, ConstTensorView x, TensorView y, Stream& stream) {
  check(w, 2, x, y);
  dispatch(stream, [&](CpuStream& s) { cpu::linear(w, x, y, s); });
}

void linear_input_gradient(const WeightView& w, ConstTensorView dy, TensorView dx, Write write,
                           Stream& stream) {
  check(w, 2, dx, dy);
  dispatch(stream, [&](CpuStream& s) { cpu::linear_input_gradient(w, dy, dx, write, s); });
}

void linear_weight_gradient(ConstTensorView dy, ConstTensorView x, TensorView dw, Stream& stream) {
  check_gradient(dy, x, dw, 2);
  dispatch(stream, [&](CpuStream& s) { cpu::linear_weight_gradient(dy, x, dw, s); });
}

void grouped_linear(const WeightView& w, ConstTensorView offsets, ConstTensorView x, TensorView y,
                    Stream& stream) {
  check(w, 3, x, y);
  check_offsets(offsets, w.stack());
  dispatch(stream, [&](CpuStream& s) { cpu::grouped_linear(w, offsets, x, y, s); });
}

void grouped_linear_input_gradient(const WeightView& w, ConstTensorView offsets, ConstTensorView dy,
                                   TensorView dx, Write write, Stream& stream) {
  check(w, 3, dx, dy);
  check_offsets(offsets, w.stack());
  dispatch(stream,
           [&](CpuStream& s) { cpu::grouped_linear_input_gradient(w, offsets, dy, dx, write, s); });
}

void grouped_linear_weight_gradient(ConstTensorView offsets, ConstTensorView dy, ConstTensorView x,
                                    TensorView dw, Stream& stream) {
  check_gradient(dy, x, dw, 3);
  check_offsets(offsets, dw.dim(0));
  dispatch(stream,
           [&](CpuStream& s) { cpu::grouped_linear_weight_gradient(offsets, dy, x, dw, s); });
}

}  // namespace dure
