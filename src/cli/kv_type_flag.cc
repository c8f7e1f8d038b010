// Declares and reads --kv-type.
#include "cli/kv_type_flag.h"

#include <array>

#include "base/error.h"
#include "cli/args.h"

namespace dure {

void KvTypeFlag::declare(Args& args) {
  args.option("--kv-type", name,
              name ? "of keys and values: f32, f16 or bf16"
                   : "of keys and values: f32, f16 or bf16 (default: f16 with integer8, else f32)");
}

DType KvTypeFlag::wanted(Arithmetic arithmetic) const {
  if (!name) return arithmetic == Arithmetic::kInteger8 ? DType::kF16 : DType::kF32;
  for (const DType dtype : std::array{DType::kF32, DType::kF16, DType::kBF16}) {
    if (kv_type_name(dtype) == *name) return dtype;
  }
  fail(ErrorCode::kInvalidArgument, "--kv-type '{}': give f32, f16 or bf16", *name);
}

std::string kv_type_name(DType dtype) {
  return dtype == DType::kF16 ? "f16" : dtype == DType::kBF16 ? "bf16" : "f32";
}

}  // namespace dure
