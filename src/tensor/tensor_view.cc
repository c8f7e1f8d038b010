#include "tensor/tensor_view.h"

#include <fmt/core.h>

namespace dure {

std::string Shape::text() const {
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) out += fmt::format("{}{}", i == 0 ? "" : ", ", (*this)[i]);
  return out + "]";
}

TensorView TensorView::slice(int64_t i) const {
  DURE_CHECK(shape.rank() >= 2 && i >= 0 && i < shape[0], "slice {} of {}", i, shape.text());
  TensorView out = rows(i, 1);
  out.shape = Shape(shape.dims().subspan(1));
  return out;
}

TensorView TensorView::rows(int64_t first, int64_t count) const {
  DURE_CHECK(shape.rank() >= 1 && first >= 0 && count >= 0 && first + count <= shape[0],
             "rows {}+{} of {}", first, count, shape.text());
  TensorView out = *this;
  int64_t dims[4] = {};
  for (int i = 0; i < shape.rank(); ++i) dims[i] = shape[i];
  dims[0] = count;
  out.shape = Shape(std::span<const int64_t>(dims, static_cast<size_t>(shape.rank())));
  out.data = static_cast<char*>(data) + (shape[0] == 0 ? 0 : bytes() / shape[0] * first);
  return out;
}

TensorView TensorView::reshaped(Shape to) const {
  DURE_CHECK(to.elements() == shape.elements(), "{} as {}", shape.text(), to.text());
  TensorView out = *this;
  out.shape = to;
  return out;
}

}  // namespace dure
