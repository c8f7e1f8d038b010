// kernels/weight.h: a weight matrix as the matrix products read it: stored type and place, never
// converted in bulk.
//
// Row-major [N, K] (out, in) as on disk, plain (F32, BF16, F16) or in quantised blocks along K. The
// matrices of a stack lie one after another, at a stride (the gate half of a fused gate_up), or
// each where its file has it.
#pragma once

#include "kernels/arithmetic.h"
#include "tensor/tensor_view.h"

namespace dure {

struct WeightView {
  ConstTensorView
      data;  // [N, K], or [E, N, K] for a stack of experts; its address: the first one's
  // A stack whose matrices do not follow one another:
  int64_t stack_stride_bytes = 0;              // between two of them; 0: N rows
  const void* const* parts = nullptr;          // [E] the address of each; must outlive the view
  Arithmetic arithmetic = Arithmetic::kExact;  // of products with it, see linear.h

  int64_t rows() const { return data.shape[data.shape.rank() - 2]; }  // N
  int64_t columns() const { return data.shape.back(); }               // K
  int64_t stack() const { return data.shape.rank() == 3 ? data.shape[0] : 1; }
  // Between the matrices of a stack that lie at a stride.
  int64_t stride_bytes() const {
    return stack_stride_bytes > 0 ? stack_stride_bytes : row_bytes(dtype(), columns()) * rows();
  }
  // Where matrix e of a stack begins.
  const char* part(int64_t e) const {
    return parts != nullptr ? static_cast<const char*>(parts[e])
                            : static_cast<const char*>(data.data) + e * stride_bytes();
  }
  DType dtype() const { return data.dtype; }
  // Of the gradients of products with it.
  Arithmetic gradient_arithmetic() const {
    return arithmetic == Arithmetic::kBf16 ? arithmetic : Arithmetic::kExact;
  }
  explicit operator bool() const { return static_cast<bool>(data); }
};

}  // namespace dure
