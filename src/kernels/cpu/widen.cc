// Plain types in a loop over tensor/dtype.h's conversions, blocks by kernels/block_decode.h.
#include "kernels/cpu/widen.h"

#include <cstring>

#include "base/check.h"
#include "kernels/block_decode.h"

namespace dure::cpu {

bool widen_supports(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16 || is_block(dtype);
}

void widen(DType dtype, const void* row, int64_t first, int64_t count, float* out) {
  const auto* halves = static_cast<const uint16_t*>(row) + first;
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, static_cast<const float*>(row) + first,
                  static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < count; ++i) out[i] = bf16_to_f32(halves[i]);
      return;
    case DType::kF16:
      for (int64_t i = 0; i < count; ++i) out[i] = f16_to_f32(halves[i]);
      return;
    default:
      DURE_CHECK(is_block(dtype), "weights of type {}", dtype_info(dtype).name);
      decode_elements(dtype, row, first, count, out);
  }
}

}  // namespace dure::cpu
