// The exact products of kernels/linear.h as stacks of products (matmul.h).
#include "kernels/cpu/linear.h"

#include "kernels/cpu/matmul.h"

namespace dure::cpu {
namespace {

using Parts = std::span<const int64_t>;

struct Sizes {
  int64_t m, n, k;
};

}  // namespace

void exact(const WeightView& w, Parts offsets, ConstTensorView x, TensorView y, CpuStream& stream) {
  const Sizes s{x.dim(0), w.rows(), w.columns()};
  const int64_t row = row_bytes(w.dtype(), s.k);
  matmul_stack({.whole = {.rows = s.m,
                          .columns = s.n,
                          .steps = s.k,
                          .a = x.f32(),
                          .a_stride = s.k,
                          .b = static_cast<const char*>(w.data.data),
                          .b_dtype = w.dtype(),
                          .b_row_bytes = row,
                          .b_by_column = true,
                          .c = y.f32(),
                          .c_stride = s.n},
                .offsets = offsets,
                .b_parts = parts_of(w)},
               stream);
}

void exact_input_gradient(const WeightView& w, Parts offsets, ConstTensorView dy, TensorView dx,
                          Write write, CpuStream& stream) {
  const Sizes s{dx.dim(0), w.rows(), w.columns()};
  const int64_t row = row_bytes(w.dtype(), s.k);
  matmul_stack({.whole = {.rows = s.m,
                          .columns = s.k,
                          .steps = s.n,
                          .a = dy.f32(),
                          .a_stride = s.n,
                          .b = static_cast<const char*>(w.data.data),
                          .b_dtype = w.dtype(),
                          .b_row_bytes = row,
                          .c = dx.f32(),
                          .c_stride = s.k,
                          .finish = write == Write::kAdd ? Finish::kAdd : Finish::kSet},
                .offsets = offsets,
                .b_parts = parts_of(w)},
               stream);
}

void exact_weight_gradient(Parts offsets, ConstTensorView dy, ConstTensorView x, TensorView dw,
                           CpuStream& stream) {
  const int64_t n = dw.dim(dw.shape.rank() - 2), k = dw.shape.back();
  matmul_stack({.whole = {.rows = n,
                          .columns = k,
                          .steps = x.dim(0),
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

}  // namespace dure::cpu
