// Names of the arithmetics, and which types each can multiply.
#include "kernels/arithmetic.h"

#include "kernels/integer_block.h"

namespace dure {

std::string_view arithmetic_name(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kExact ? "exact" : "integer8";
}

std::optional<Arithmetic> arithmetic_from_name(std::string_view name) {
  for (const Arithmetic a : {Arithmetic::kExact, Arithmetic::kInteger8}) {
    if (arithmetic_name(a) == name) return a;
  }
  return std::nullopt;
}

bool arithmetic_supports(Arithmetic arithmetic, DType dtype) {
  return arithmetic == Arithmetic::kExact || integer_format(dtype) != nullptr;
}

}  // namespace dure
