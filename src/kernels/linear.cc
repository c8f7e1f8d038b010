// Checks the contracts of linear.h and states each operation as a stack of products (cpu/matmul.h).
#include "kernels/linear.h"

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/widen.h"

namespace dure {
namespace {

using cpu::Finish;
using cpu::MatMulStack;

struct Sizes {
  int64_t m, n, k, parts;
};

void check_rows(TensorView t, int64_t rows, int64_t columns, const char* name) {
  t.expect(DType::kF32);
  DURE_CHECK(t.shape.rank() == 2 && t.dim(0) == rows && t.dim(1) == columns,
             "{} is {}, wanted [{}, {}]", name, t.shape.text(), rows, columns);
}

void check_offsets(std::span<const int64_t> offsets, int64_t parts, int64_t rows) {
  DURE_CHECK(static_cast<int64_t>(offsets.size()) == parts + 1, "{} offsets for {} experts",
             offsets.size(), parts);
  DURE_CHECK(offsets.front() == 0 && offsets.back() == rows, "offsets {}..{} for {} rows",
             offsets.front(), offsets.back(), rows);
  for (size_t e = 1; e < offsets.size(); ++e)
    DURE_CHECK(offsets[e - 1] <= offsets[e], "offsets of expert {} go down", e - 1);
}

// x: [M, K] and y: [M, N] against w: [E, N, K] and the offsets.
Sizes check(const WeightView& w, std::span<const int64_t> offsets, TensorView x, TensorView y) {
  DURE_CHECK(w.layout == WeightLayout::kRowMajor, "only row-major weights");
  DURE_CHECK(w.data.shape.rank() == 2 || w.data.shape.rank() == 3, "weights {}",
             w.data.shape.text());
  DURE_CHECK(cpu::widen_supports(w.data.dtype), "weights of type {}",
             dtype_info(w.data.dtype).name);
  const Sizes s{x.dim(0), w.rows(), w.columns(), w.stack()};
  check_rows(x, s.m, s.k, "x or dx");
  check_rows(y, s.m, s.n, "y or dy");
  check_offsets(offsets, s.parts, s.m);
  return s;
}

void forward(const WeightView& w, std::span<const int64_t> offsets, TensorView x, TensorView y,
             Stream& stream) {
  const Sizes s = check(w, offsets, x, y);
  const int64_t row = row_bytes(w.data.dtype, s.k);
  cpu::matmul_stack({.whole = {.columns = s.n,
                               .steps = s.k,
                               .a = x.f32(),
                               .a_stride = s.k,
                               .b = static_cast<const char*>(w.data.data),
                               .b_dtype = w.data.dtype,
                               .b_row_bytes = row,
                               .b_by_column = true,
                               .c = y.f32(),
                               .c_stride = s.n},
                     .offsets = offsets,
                     .b_part_bytes = row * s.n},
                    stream);
}

void input_gradient(const WeightView& w, std::span<const int64_t> offsets, TensorView dy,
                    TensorView dx, Write write, Stream& stream) {
  const Sizes s = check(w, offsets, dx, dy);
  const int64_t row = row_bytes(w.data.dtype, s.k);
  cpu::matmul_stack({.whole = {.columns = s.k,
                               .steps = s.n,
                               .a = dy.f32(),
                               .a_stride = s.n,
                               .b = static_cast<const char*>(w.data.data),
                               .b_dtype = w.data.dtype,
                               .b_row_bytes = row,
                               .c = dx.f32(),
                               .c_stride = s.k,
                               .finish = write == Write::kAdd ? Finish::kAdd : Finish::kSet},
                     .offsets = offsets,
                     .b_part_bytes = row * s.n},
                    stream);
}

void weight_gradient(std::span<const int64_t> offsets, TensorView dy, TensorView x, TensorView dw,
                     Stream& stream) {
  DURE_CHECK(dw.shape.rank() == 2 || dw.shape.rank() == 3, "dw is {}", dw.shape.text());
  const int64_t n = dw.dim(dw.shape.rank() - 2), k = dw.shape.back();
  check_rows(dy, x.dim(0), n, "dy");
  check_rows(x, x.dim(0), k, "x");
  check_offsets(offsets, dw.shape.rank() == 3 ? dw.dim(0) : 1, x.dim(0));
  cpu::matmul_stack({.whole = {.rows = n,
                               .columns = k,
                               .a = dy.f32(),
                               .a_stride = n,
                               .a_by_step = true,
                               .b = static_cast<const char*>(x.data),
                               .b_row_bytes = row_bytes(DType::kF32, k),
                               .c = dw.f32(),
                               .c_stride = k,
                               .finish = Finish::kContinue},
                     .offsets = offsets,
                     .ragged_steps = true,
                     .c_part_elements = n * k},
                    stream);
}

}  // namespace

void linear(const WeightView& w, TensorView x, TensorView y, Stream& stream) {
  const int64_t offsets[] = {0, x.dim(0)};
  forward(w, offsets, x, y, stream);
}

void linear_input_gradient(const WeightView& w, TensorView dy, TensorView dx, Write write,
                           Stream& stream) {
  const int64_t offsets[] = {0, dy.dim(0)};
  input_gradient(w, offsets, dy, dx, write, stream);
}

void linear_weight_gradient(TensorView dy, TensorView x, TensorView dw, Stream& stream) {
  const int64_t offsets[] = {0, x.dim(0)};
  weight_gradient(offsets, dy, x, dw, stream);
}

void grouped_linear(const WeightView& w, std::span<const int64_t> offsets, TensorView x,
                    TensorView y, Stream& stream) {
  forward(w, offsets, x, y, stream);
}

void grouped_linear_input_gradient(const WeightView& w, std::span<const int64_t> offsets,
                                   TensorView dy, TensorView dx, Write write, Stream& stream) {
  input_gradient(w, offsets, dy, dx, write, stream);
}

void grouped_linear_weight_gradient(std::span<const int64_t> offsets, TensorView dy, TensorView x,
                                    TensorView dw, Stream& stream) {
  weight_gradient(offsets, dy, x, dw, stream);
}

}  // namespace dure
