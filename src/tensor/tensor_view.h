// tensor/tensor_view.h: shape, type and address of a dense row-major tensor; owns nothing (buffer.h
// does).
//
// Up to four dimensions. A view is a value of 64 bytes: pass it by value. Block types (dtype.h)
// keep whole rows. A ConstTensorView is what a kernel only reads; every TensorView is one.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>

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

// The type a T is stored as.
template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::kF32;
  if constexpr (std::is_same_v<T, double>) return DType::kF64;
  if constexpr (std::is_same_v<T, int32_t>) return DType::kI32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::kI64;
  if constexpr (std::is_same_v<T, uint16_t>) return DType::kBF16;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::kU8;
}

// `Void` is void or const void. The address is for kernels/ and formats/: above them a tensor is
// handed on, and its values pass through host_array.h.
template <typename Void>
struct BasicTensorView {
  static constexpr bool kReadOnly = std::is_const_v<Void>;
  template <typename T>
  using Element = std::conditional_t<kReadOnly, const T, T>;

  Void* data = nullptr;
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
  operator BasicTensorView<const void>() const requires(!kReadOnly) {
    return {data, shape, dtype, device};
  }

  // Typed access. Checked: dtype.
  template <typename T>
  Element<T>* as() const {
    expect(dtype_of<T>());
    return static_cast<Element<T>*>(data);
  }
  Element<float>* f32() const { return as<float>(); }
  Element<uint16_t>* bf16() const { return as<uint16_t>(); }
  Element<int32_t>* i32() const { return as<int32_t>(); }
  Element<int64_t>* i64() const { return as<int64_t>(); }
  void expect(DType wanted) const {
    DURE_CHECK(dtype == wanted, "{} where {} is needed", dtype_info(dtype).name,
               dtype_info(wanted).name);
  }

  // The i-th slice along the first dimension: [A, B, C] -> [B, C].
  BasicTensorView slice(int64_t i) const;
  // Rows [first, first + count) of the first dimension.
  BasicTensorView rows(int64_t first, int64_t count) const;
  BasicTensorView reshaped(Shape to) const;  // Checked: same number of elements.
};

using TensorView = BasicTensorView<void>;
using ConstTensorView = BasicTensorView<const void>;  // What is only read.

// Host memory as a tensor of the CPU.
template <typename T>
TensorView host_view(T* data, Shape shape) requires(!std::is_const_v<T>) {
  return {data, shape, dtype_of<T>(), Device::kCpu};
}
template <typename T>
ConstTensorView host_view(const T* data, Shape shape) {
  return {data, shape, dtype_of<T>(), Device::kCpu};
}
template <typename T>
ConstTensorView host_view(std::span<const T> values) {
  return host_view(values.data(), {static_cast<int64_t>(values.size())});
}

}  // namespace dure
