// The table of types in the order of the enum, and conversions by their bits: to the nearest, ties
// to even; NaN stays NaN.
#include "tensor/dtype.h"

#include <cctype>
#include <cmath>
#include <iterator>

#include "base/check.h"

namespace dure {
namespace {

constexpr int64_t kK = 256;  // Elements of a "K" super-block.

// Order of the enum. Block layouts: docs/gguf.md.
constexpr DTypeInfo kInfo[] = {
    {"F32", 1, 4},      {"F16", 1, 2},       {"BF16", 1, 2},      {"F64", 1, 8},
    {"F8_E4M3", 1, 1},  {"F8_E5M2", 1, 1},   {"BOOL", 1, 1},      {"U8", 1, 1},
    {"I8", 1, 1},       {"I16", 1, 2},       {"U16", 1, 2},       {"I32", 1, 4},
    {"U32", 1, 4},      {"I64", 1, 8},       {"U64", 1, 8},       {"Q4_0", 32, 18},
    {"Q4_1", 32, 20},   {"Q5_0", 32, 22},    {"Q5_1", 32, 24},    {"Q8_0", 32, 34},
    {"Q2_K", kK, 84},   {"Q3_K", kK, 110},   {"Q4_K", kK, 144},   {"Q5_K", kK, 176},
    {"Q6_K", kK, 210},  {"IQ1_S", kK, 50},   {"IQ1_M", kK, 56},   {"IQ2_XXS", kK, 66},
    {"IQ2_XS", kK, 74}, {"IQ2_S", kK, 82},   {"IQ3_XXS", kK, 98}, {"IQ3_S", kK, 110},
    {"IQ4_NL", 32, 18}, {"IQ4_XS", kK, 136}, {"TQ1_0", kK, 54},   {"TQ2_0", kK, 66},
    {"MXFP4", 32, 17},  {"NVFP4", 64, 36},   {"Q1_0", 128, 18},   {"Q2_0", 64, 18},
};
static_assert(std::size(kInfo) == static_cast<size_t>(DType::kQ2_0) + 1);

}  // namespace

const DTypeInfo& dtype_info(DType dtype) { return kInfo[static_cast<size_t>(dtype)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(kInfo); ++i) {
    const std::string_view candidate = kInfo[i].name;
    bool same = candidate.size() == name.size();
    for (size_t k = 0; same && k < name.size(); ++k) {
      same = std::toupper(static_cast<unsigned char>(name[k])) == candidate[k];
    }
    if (same) return static_cast<DType>(i);
  }
  return std::nullopt;
}

int64_t row_bytes(DType dtype, int64_t elements) {
  const DTypeInfo& info = dtype_info(dtype);
  DURE_CHECK(elements % info.block_elements == 0, "{} elements, blocks of {} ({})", elements,
             info.block_elements, info.name);
  return elements / info.block_elements * info.block_bytes;
}

uint16_t f32_to_bf16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float e4m3_magnitude(uint8_t bits) {
  const int exponent = (bits >> 3) & 15, fraction = bits & 7;
  return exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                       : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
}

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, exponent = (bits >> 10) & 0x1F,
                 fraction = bits & 0x3FF;
  if (exponent == 31) return __builtin_bit_cast(float, sign | 0x7F800000 | (fraction << 13));
  if (exponent != 0)
    return __builtin_bit_cast(float, sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1.0p-24f;  // Zero and subnormals, exact.
  return sign != 0 ? -magnitude : magnitude;
}

uint16_t f32_to_f16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value), magnitude = bits & 0x7FFFFFFF;
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  if (magnitude > 0x7F800000) return sign | 0x7E00;   // NaN
  if (magnitude >= 0x477FF000) return sign | 0x7C00;  // Rounds to infinity: 65520 and above.
  if (magnitude < 0x38800000) {                       // Subnormal: the float adder rounds for us.
    const float scaled = __builtin_bit_cast(float, magnitude) +
                         0.5f;  // ulp of 0.5 is 2^-24, the spacing of subnormals.
    return sign | static_cast<uint16_t>(__builtin_bit_cast(uint32_t, scaled) - 0x3F000000);
  }
  return sign |
         static_cast<uint16_t>((magnitude + 0xFFF + ((magnitude >> 13) & 1) - 0x38000000) >> 13);
}

}  // namespace dure
