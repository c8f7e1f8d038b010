// cli/kv_type_flag.h: the flag that says how keys and values are stored, and what is taken without
// it.
//
// Default: F16 where some matrix multiplies in integer8, whose own rounding is far coarser; F32
// elsewhere, so that an exact sampler keeps the trainer's bits. Not here: the stores
// (kernels/kv_store.h), which arithmetic a model has (model/load.h).
#pragma once

#include <optional>
#include <string>

#include "kernels/arithmetic.h"
#include "tensor/dtype.h"

namespace dure {

class Args;

struct KvTypeFlag {
  std::optional<std::string> name;  // set beforehand: the default of a verb of its own

  void declare(Args& args);
  bool given() const { return name.has_value(); }
  // Throws kInvalidArgument for a type that keys and values cannot have.
  DType wanted(Arithmetic arithmetic) const;
};

std::string kv_type_name(DType dtype);  // "f32", "f16", "bf16", "q8_0"

}  // namespace dure
