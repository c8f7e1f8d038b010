// Names of the arithmetics, and which types each can multiply.
#include "kernels/arithmetic.h"

#include "kernels/integer_block.h"

namespace dure {

std::string_view arithmetic_name(Arithmetic arithmetic) {
  switch (arithmetic) {
    case Arithmetic::kInteger8:
      return "integer8";
    case Arithmetic::kBf16:
      return "bf16";
    default:
      return "exact";
  }
}

std::optional<Arithmetic> arithmetic_from_name(std::string_view name) {
  for (const Arithmetic a : {Arithmetic::kExact, Arithmetic::kInteger8, Arithmetic::kBf16}) {
    if (arithmetic_name(a) == name) return a;
  }
  return std::nullopt;
}

bool arithmetic_supports(Arithmetic arithmetic, DType dtype) {
  switch (arithmetic) {
    case Arithmetic::kInteger8:
      return integer_format(dtype) != nullptr;
    case Arithmetic::kBf16:
      return dtype == DType::kBF16;
    default:
      return true;
  }
}

}  // namespace dure
