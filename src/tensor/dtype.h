// tensor/dtype.h: element and block types of tensors: names, sizes, block layouts. No arithmetic
// (kernels/, quantise/).
//
// A block type stores `block_elements` consecutive elements of a row in `block_bytes`; a row holds
// whole blocks. Names are the ecosystem's: safetensors for plain types ("F32", "BF16"), ggml for
// blocks ("Q4_K").
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dure {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kF8E4M3,
  kF8E5M2,
  kBool,
  kU8,
  kI8,
  kI16,
  kU16,
  kI32,
  kU32,
  kI64,
  kU64,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ1_S,
  kIQ1_M,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ2_S,
  kIQ3_XXS,
  kIQ3_S,
  kIQ4_NL,
  kIQ4_XS,
  kTQ1_0,
  kTQ2_0,
  kMXFP4,
  kNVFP4,
  kQ1_0,
  kQ2_0,
};

struct DTypeInfo {
  std::string_view name;   // "F32", "Q4_K"
  int64_t block_elements;  // 1 for plain types
  int64_t block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);  // Case-insensitive.
inline bool is_block(DType dtype) { return dtype_info(dtype).block_elements > 1; }
int64_t row_bytes(DType dtype, int64_t elements);  // Checked: whole blocks.

inline float bf16_to_f32(uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
}
uint16_t f32_to_bf16(float value);  // Round to nearest even; NaN stays NaN.
float f16_to_f32(uint16_t bits);
// Of the lower seven bits of an E4M3 byte, its sign apart; the top code (NaN to some, 0 or a number
// to others) as the number that it would be.
float e4m3_magnitude(uint8_t bits);
uint16_t f32_to_f16(float value);  // Round to nearest even, overflow to infinity.

}  // namespace dure
