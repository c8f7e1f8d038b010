// tensor/tensor_view.h: shape, type and address of a dense row-major tensor; owns nothing (buffer.h
// does).
//
// Up to four dimensions. A view is a value of 64 bytes: pass it by value. Block types (dtype.h)
// keep whole rows.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace dure {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims)
      : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
    DURE_CHECK(dims.size() <= 4, "rank {}", dims.size());
    for (int i = 0; i < rank_; ++i) dims_[static_cast<size_t>(i)] = dims[static_cast<size_t>(i)];
  }
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i)]; }
  int64_t back() const { return rank_ == 0 ? 1 : dims_[static_cast<size_t>(rank_ - 1)]; }
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[static_cast<size_t>(i)];
    return n;
  }
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  bool operator==(const Shape&) const = default;
  std::string text() const;  // "[4, 8]"

 private:
  std::array<int64_t, 4> dims_{};  // Unused entries stay 0, so that == compares ranks too.
  int rank_ = 0;
};

struct TensorView {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::kF32;
  Device device = Device::kCpu;

  int64_t elements() const { return shape.elements(); }
  int64_t bytes() const {
    return shape.elements() == 0 ? 0
                                 : shape.elements() / shape.back() * row_bytes(dtype, shape.back());
  }
  int64_t dim(int i) const { return shape[i]; }
  explicit operator bool() const { return data != nullptr; }

  // Typed access. Checked: dtype.
  float* f32() const {
    expect(DType::kF32);
    return static_cast<float*>(data);
  }
  uint16_t* bf16() const {
    expect(DType::kBF16);
    return static_cast<uint16_t*>(data);
  }
  void expect(DType wanted) const {
    DURE_CHECK(dtype == wanted, "{} where {} is needed", dtype_info(dtype).name,
               dtype_info(wanted).name);
  }

  // The i-th slice along the first dimension: [A, B, C] -> [B, C].
  TensorView slice(int64_t i) const;
  // Rows [first, first + count) of the first dimension.
  TensorView rows(int64_t first, int64_t count) const;
  TensorView reshaped(Shape to) const;  // Checked: same number of elements.
};

inline TensorView f32_view(float* data, Shape shape) {
  return {data, shape, DType::kF32, Device::kCpu};
}
inline TensorView f32_view(const float* data, Shape shape) {
  return {const_cast<float*>(data), shape, DType::kF32, Device::kCpu};
}

}  // namespace dure
