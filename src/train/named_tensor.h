// train/named_tensor.h: a tensor with the name under which it is saved.
#pragma once

#include <string>

#include "tensor/tensor_view.h"

namespace dure {

struct NamedTensor {
  std::string name;
  TensorView view;
  bool elsewhere = false;  // another rank has it; the view says its shape alone
};

}  // namespace dure
