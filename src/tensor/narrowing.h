// tensor/narrowing.h: values into a plain type, one tensor in pieces: what the type cannot hold is
// refused, what was no number before is counted and named.
//
// Everything that writes weights in another type goes through here. Not here: decoding of stored
// types (kernels/convert.h), blocks (quantise/).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tensor/tensor_view.h"

namespace dure {

class Narrowing {
 public:
  // `what` names file and tensor in messages; `shape` is the tensor's, to name places by row.
  Narrowing(std::string what, const Shape& shape, DType to);
  DType to() const { return to_; }

  // Elements [first, first + values.size()) to `out`, nearest even (F32, BF16, F16; checked).
  // Throws kInvalidArgument naming tensor, place and value for a finite one that would become
  // infinite.
  void put(std::span<const float> values, int64_t first, void* out);
  // Counts what is not finite in a plain tensor that is copied as it is.
  void look_at(ConstTensorView stored);
  // Warns once, where there were NaN or infinities: how many, and where the first one is.
  void finish() const;
  int64_t not_finite() const { return not_finite_; }

 private:
  void count(float value, int64_t at);
  std::string place(int64_t at) const;
  [[noreturn]] void refuse(float value, int64_t at) const;

  std::string what_;
  int64_t columns_ = 1;
  DType to_;
  int64_t not_finite_ = 0, first_at_ = 0;
  float first_value_ = 0;
};

}  // namespace dure
