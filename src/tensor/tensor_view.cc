// Slices and rows of views.
#include "tensor/tensor_view.h"

#include <fmt/core.h>

namespace dure {

std::string Shape::text() const {
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) out += fmt::format("{}{}", i == 0 ? "" : ", ", (*this)[i]);
  return out + "]";
}

template <typename Void>
BasicTensorView<Void> BasicTensorView<Void>::slice(int64_t i) const {
  DURE_CHECK(shape.rank() >= 2 && i >= 0 && i < shape[0], "slice {} of {}", i, shape.text());
  BasicTensorView out = rows(i, 1);
  out.shape = Shape(shape.dims().subspan(1));
  return out;
}

template <typename Void>
BasicTensorView<Void> BasicTensorView<Void>::rows(int64_t first, int64_t count) const {
  DURE_CHECK(shape.rank() >= 1 && first >= 0 && count >= 0 && first + count <= shape[0],
             "rows {}+{} of {}", first, count, shape.text());
  BasicTensorView out = *this;
  int64_t dims[4] = {};
  for (int i = 0; i < shape.rank(); ++i) dims[i] = shape[i];
  dims[0] = count;
  out.shape = Shape(std::span<const int64_t>(dims, static_cast<size_t>(shape.rank())));
  out.data = static_cast<Element<char>*>(data) + (shape[0] == 0 ? 0 : bytes() / shape[0] * first);
  return out;
}

template <typename Void>
BasicTensorView<Void> BasicTensorView<Void>::reshaped(Shape to) const {
  DURE_CHECK(to.elements() == shape.elements(), "{} as {}", shape.text(), to.text());
  BasicTensorView out = *this;
  out.shape = to;
  return out;
}

template struct BasicTensorView<void>;
template struct BasicTensorView<const void>;

}  // namespace dure
