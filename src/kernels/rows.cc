// Checks of rows.h, then the device's own bodies.
#include "kernels/rows.h"

#include "kernels/cpu/rows.h"
#include "kernels/dispatch.h"

namespace dure {
namespace {

void check_same(ConstTensorView a, ConstTensorView b) {
  DURE_CHECK(a.elements() == b.elements(), "{} and {}", a.shape.text(), b.shape.text());
}

// `rows` holds a row of `width` for every index.
void check_indexed(ConstTensorView indices, ConstTensorView rows, int64_t width) {
  indices.expect(DType::kI32);
  DURE_CHECK(rows.elements() == indices.elements() * width, "{} rows of width {}, not {}",
             indices.elements(), width, rows.shape.text());
}

void check_columns(ConstTensorView a, ConstTensorView b, ConstTensorView y) {
  DURE_CHECK(a.dim(0) == y.dim(0) && b.dim(0) == y.dim(0) &&
                 y.shape.back() == a.shape.back() + b.shape.back(),
             "{} and {} beside {}", a.shape.text(), b.shape.text(), y.shape.text());
}

}  // namespace

void embedding(const WeightView& table, ConstTensorView ids, TensorView y, Stream& stream) {
  check_indexed(ids, y, table.columns());
  dispatch(stream, [&](CpuStream& s) { cpu::embedding(table, ids, y, s); });
}

void embedding_backward(ConstTensorView ids, ConstTensorView dy, TensorView dtable,
                        Stream& stream) {
  check_indexed(ids, dy, dtable.shape.back());
  dispatch(stream, [&](CpuStream& s) { cpu::embedding_backward(ids, dy, dtable, s); });
}

void gather_rows(ConstTensorView x, ConstTensorView from, TensorView y, Stream& stream) {
  check_indexed(from, y, x.shape.back());
  dispatch(stream, [&](CpuStream& s) { cpu::gather_rows(x, from, y, s); });
}

void scatter_rows(ConstTensorView x, ConstTensorView to, TensorView y, Stream& stream) {
  check_indexed(to, x, y.shape.back());
  dispatch(stream, [&](CpuStream& s) { cpu::scatter_rows(x, to, y, s); });
}

void compact_rows(TensorView x, ConstTensorView from, Stream& stream) {
  from.expect(DType::kI32);
  DURE_CHECK(x.shape.rank() == 2 && from.elements() <= x.dim(0), "{} rows of {}", from.elements(),
             x.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::compact_rows(x, from, s); });
}

void add_to(ConstTensorView x, TensorView y, Stream& stream) {
  check_same(x, y);
  dispatch(stream, [&](CpuStream& s) { cpu::add_to(x, y, s); });
}

void scale_by(float factor, TensorView y, Stream& stream) {
  dispatch(stream, [&](CpuStream& s) { cpu::scale_by(factor, y, s); });
}

void copy_to(ConstTensorView x, TensorView y, Stream& stream) {
  DURE_CHECK(x.dtype == y.dtype && x.bytes() == y.bytes(), "{} {} to {} {}",
             dtype_info(x.dtype).name, x.shape.text(), dtype_info(y.dtype).name, y.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::copy_to(x, y, s); });
}

void zero(TensorView y, Stream& stream) {
  dispatch(stream, [&](CpuStream& s) { cpu::zero(y, s); });
}

void fill(TensorView y, float value, Stream& stream) {
  dispatch(stream, [&](CpuStream& s) { cpu::fill(y, value, s); });
}

void concat_columns(ConstTensorView a, ConstTensorView b, TensorView y, Stream& stream) {
  check_columns(a, b, y);
  dispatch(stream, [&](CpuStream& s) { cpu::concat_columns(a, b, y, s); });
}

void split_columns(ConstTensorView y, TensorView a, TensorView b, Stream& stream) {
  check_columns(a, b, y);
  dispatch(stream, [&](CpuStream& s) { cpu::split_columns(y, a, b, s); });
}

void add_squares(ConstTensorView x, ConstTensorView offsets, TensorView sums, Stream& stream) {
  offsets.expect(DType::kI64);
  DURE_CHECK(offsets.elements() == sums.dim(0) + 1 && sums.shape.back() == x.shape.back(),
             "{} offsets, x {}, sums {}", offsets.elements(), x.shape.text(), sums.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::add_squares(x, offsets, sums, s); });
}

void add_sum(ConstTensorView x, TensorView total, Stream& stream) {
  DURE_CHECK(total.elements() == 1, "total {}", total.shape.text());
  dispatch(stream, [&](CpuStream& s) { cpu::add_sum(x, total, s); });
}

}  // namespace dure
