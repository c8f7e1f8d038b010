// train/named_tensor.h: a tensor with the name under which it is saved.
#pragma once

#include <string>

#include "tensor/tensor_view.h"

namespace dure {

struct NamedTensor {
  std::string name;
  TensorView view;
  bool elsewhere = false;  // another rank has it; the view says its shape alone
  // Of a tensor that ranks share by rows of its first dimension: its shape in the file, and where
  // the view's rows begin.
  Shape whole = {};
  int64_t first_row = 0;

  Shape file_shape() const { return whole.rank() == 0 ? view.shape : whole; }
};

}  // namespace dure
