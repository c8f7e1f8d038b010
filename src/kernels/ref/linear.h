// kernels/ref/linear.h: the matrix products in double, written as their definitions; the truth of
// the tests.
//
// Shares nothing with the fast bodies: no blocking, no packing, no fused order; rounding of the sum
// is 2^-53. `magnitude` results are the same sums over absolute values: the scale of a derived
// tolerance.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/weight.h"

namespace dure::ref {

struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;  // [rows, columns]
  Matrix(int64_t r, int64_t c) : rows(r), columns(c), values(static_cast<size_t>(r * c)) {}
  double& at(int64_t r, int64_t c) { return values[static_cast<size_t>(r * columns + c)]; }
  double at(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * columns + c)]; }
  Matrix absolute() const;
};

Matrix matrix_of(ConstTensorView t);  // Rank 2 (a stack's part: t.slice(e)); F32, BF16 or F16.
Matrix linear(const Matrix& w, const Matrix& x);                   // x w^T: [M, N]
Matrix linear_input_gradient(const Matrix& w, const Matrix& dy);   // dy w: [M, K]
Matrix linear_weight_gradient(const Matrix& dy, const Matrix& x);  // dy^T x: [N, K]

}  // namespace dure::ref
