// Three loops a product, each sum in ascending order of its index.
#include "kernels/ref/linear.h"

#include <cmath>

namespace dure::ref {
namespace {

double element(const ConstTensorView& t, int64_t i) {
  if (t.dtype == DType::kF32) return t.f32()[i];
  if (t.dtype == DType::kBF16) return bf16_to_f32(t.bf16()[i]);
  t.expect(DType::kF16);
  return f16_to_f32(static_cast<const uint16_t*>(t.data)[i]);
}

}  // namespace

Matrix Matrix::absolute() const {
  Matrix out = *this;
  for (double& v : out.values) v = std::fabs(v);
  return out;
}

Matrix matrix_of(ConstTensorView t) {
  DURE_CHECK(t.shape.rank() == 2, "{}", t.shape.text());
  Matrix out(t.dim(0), t.dim(1));
  for (int64_t i = 0; i < t.elements(); ++i) out.values[static_cast<size_t>(i)] = element(t, i);
  return out;
}

Matrix linear(const Matrix& w, const Matrix& x) {
  Matrix y(x.rows, w.rows);
  for (int64_t m = 0; m < x.rows; ++m)
    for (int64_t n = 0; n < w.rows; ++n)
      for (int64_t k = 0; k < w.columns; ++k) y.at(m, n) += x.at(m, k) * w.at(n, k);
  return y;
}

Matrix linear_input_gradient(const Matrix& w, const Matrix& dy) {
  Matrix dx(dy.rows, w.columns);
  for (int64_t m = 0; m < dy.rows; ++m)
    for (int64_t n = 0; n < w.rows; ++n)
      for (int64_t k = 0; k < w.columns; ++k) dx.at(m, k) += dy.at(m, n) * w.at(n, k);
  return dx;
}

Matrix linear_weight_gradient(const Matrix& dy, const Matrix& x) {
  Matrix dw(dy.columns, x.columns);
  for (int64_t m = 0; m < dy.rows; ++m)
    for (int64_t n = 0; n < dy.columns; ++n)
      for (int64_t k = 0; k < x.columns; ++k) dw.at(n, k) += dy.at(m, n) * x.at(m, k);
  return dw;
}

}  // namespace dure::ref
