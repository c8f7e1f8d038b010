// Checks of linear.h, then the device's own bodies.
#include "kernels/linear.h"

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/integer8.h"
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

void check_weight(const WeightView& w, int rank) {
  DURE_CHECK(w.data.shape.rank() == rank, "weights {}", w.data.shape.text());
  DURE_CHECK(cpu::widen_supports(w.dtype()), "weights of type {}", dtype_info(w.dtype()).name);
  DURE_CHECK(arithmetic_supports(w.arithmetic, w.dtype()), "{} of {}",
             arithmetic_name(w.arithmetic), dtype_info(w.dtype()).name);
}

// x: [M, K] and y: [M, N] against w: [N, K], or a stack of them.
void check(const WeightView& w, int rank, ConstTensorView x, ConstTensorView y) {
  check_weight(w, rank);
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

using Parts = std::span<const int64_t>;

Parts parts(ConstTensorView offsets) {
  return {offsets.i64(), static_cast<size_t>(offsets.elements())};
}

// Runs of products of one arithmetic.
void forward(std::span<const Product> products, Parts offsets, ConstTensorView take,
             ConstTensorView x, Stream& stream) {
  while (!products.empty()) {
    const Arithmetic arithmetic = products[0].w.arithmetic;
    size_t count = 1;
    while (count < products.size() && products[count].w.arithmetic == arithmetic) ++count;
    const std::span<const Product> run = products.first(count);
    dispatch(stream, [&](CpuStream& s) {
      if (arithmetic == Arithmetic::kInteger8) return cpu::integer8(run, offsets, take, x, s);
      if (arithmetic == Arithmetic::kBf16) return cpu::bf16(run, offsets, x, s);
      for (const Product& p : run) cpu::exact(p.w, offsets, x, p.y, s);
    });
    products = products.subspan(count);
  }
}

void input_gradient(const WeightView& w, Parts offsets, ConstTensorView dy, TensorView dx,
                    Write write, Stream& stream) {
  dispatch(stream, [&](CpuStream& s) {
    if (w.arithmetic == Arithmetic::kBf16)
      return cpu::bf16_input_gradient(w, offsets, dy, dx, write, s);
    cpu::exact_input_gradient(w, offsets, dy, dx, write, s);
  });
}

void weight_gradient(Parts offsets, ConstTensorView dy, ConstTensorView x, TensorView dw,
                     Stream& stream, Arithmetic arithmetic) {
  dispatch(stream, [&](CpuStream& s) {
    if (arithmetic == Arithmetic::kBf16) return cpu::bf16_weight_gradient(offsets, dy, x, dw, s);
    cpu::exact_weight_gradient(offsets, dy, x, dw, s);
  });
}

}  // namespace

void linear(std::span<const Product> products, ConstTensorView x, Stream& stream) {
  for (const Product& p : products) check(p.w, 2, x, p.y);
  const int64_t offsets[] = {0, x.dim(0)};
  forward(products, offsets, {}, x, stream);
}

void linear(const WeightView& w, ConstTensorView x, TensorView y, Stream& stream) {
  const Product product{w, y};
  linear({&product, 1}, x, stream);
}

void linear_input_gradient(const WeightView& w, ConstTensorView dy, TensorView dx, Write write,
                           Stream& stream) {
  check(w, 2, dx, dy);
  const int64_t offsets[] = {0, dy.dim(0)};
  input_gradient(w, offsets, dy, dx, write, stream);
}

void linear_weight_gradient(ConstTensorView dy, ConstTensorView x, TensorView dw,
                            Arithmetic arithmetic, Stream& stream) {
  check_gradient(dy, x, dw, 2);
  const int64_t offsets[] = {0, x.dim(0)};
  weight_gradient(offsets, dy, x, dw, stream, arithmetic);
}

void grouped_linear(std::span<const Product> products, ConstTensorView offsets, ConstTensorView x,
                    Stream& stream) {
  for (const Product& p : products) {
    check(p.w, 3, x, p.y);
    check_offsets(offsets, p.w.stack());
  }
  forward(products, parts(offsets), {}, x, stream);
}

void grouped_linear(const WeightView& w, ConstTensorView offsets, ConstTensorView x, TensorView y,
                    Stream& stream) {
  const Product product{w, y};
  grouped_linear({&product, 1}, offsets, x, stream);
}

void grouped_linear_take(std::span<const Product> products, ConstTensorView offsets,
                         ConstTensorView take, ConstTensorView x, Stream& stream) {
  take.expect(DType::kI32);
  for (const Product& p : products) {
    check_weight(p.w, 3);
    DURE_CHECK(takes_rows(p.w), "taken rows with {}", arithmetic_name(p.w.arithmetic));
    check_offsets(offsets, p.w.stack());
    check_rows(x, x.dim(0), p.w.columns(), "x");
    check_rows(p.y, take.elements(), p.w.rows(), "y");
  }
  forward(products, parts(offsets), take, x, stream);
}

void grouped_linear_input_gradient(const WeightView& w, ConstTensorView offsets, ConstTensorView dy,
                                   TensorView dx, Write write, Stream& stream) {
  check(w, 3, dx, dy);
  check_offsets(offsets, w.stack());
  input_gradient(w, parts(offsets), dy, dx, write, stream);
}

void grouped_linear_weight_gradient(ConstTensorView offsets, ConstTensorView dy, ConstTensorView x,
                                    TensorView dw, Arithmetic arithmetic, Stream& stream) {
  check_gradient(dy, x, dw, 3);
  check_offsets(offsets, dw.dim(0));
  weight_gradient(parts(offsets), dy, x, dw, stream, arithmetic);
}

}  // namespace dure
