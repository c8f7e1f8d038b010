// train/precision.h: what a run's products are computed in.
//
// Not here: what the arithmetics are (kernels/arithmetic.h), the copies that one of them needs
// (model/bf16_copies.h), which matrices it serves (docs/training.md).
#pragma once

#include "base/options.h"
#include "kernels/arithmetic.h"

namespace dure {

// Those that have gradients.
constexpr auto enum_names(Arithmetic) {
  return std::to_array<EnumName<Arithmetic>>(
      {{Arithmetic::kExact, "exact"}, {Arithmetic::kBf16, "bf16"}});
}

struct PrecisionOptions {
  Arithmetic arithmetic = Arithmetic::kExact;
  template <typename V>
  void visit(V& v) {
    v("arithmetic", arithmetic,
      "products of the layers and the head: exact (f32), or bf16 (BF16 copies of the f32 weights)");
  }
};

// Adds what a run may not change to its identity.
inline void add_identity(const PrecisionOptions& options, Json& identity) {
  // Runs from before there was a choice are exact ones.
  if (options.arithmetic != Arithmetic::kExact)
    identity["train.arithmetic"] = name_of(options.arithmetic);
}

}  // namespace dure
