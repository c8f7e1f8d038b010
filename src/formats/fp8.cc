// A table of the 256 values, times the scale of the element's tensor, row or block, rounded to
// BF16.
#include "formats/fp8.h"

#include <array>
#include <cmath>
#include <limits>

namespace dure {
namespace {

std::array<float, 256> make_table() {
  std::array<float, 256> table{};
  for (int bits = 0; bits < 256; ++bits) {
    float value = e4m3_magnitude(static_cast<uint8_t>(bits));
    if ((bits & 0x7F) == 0x7F) value = std::numeric_limits<float>::quiet_NaN();
    table[static_cast<size_t>(bits)] = bits >= 128 ? -value : value;
  }
  return table;
}

const std::array<float, 256>& table() {
  static const std::array<float, 256> values = make_table();
  return values;
}

float scale_at(ConstTensorView scale, int64_t i) {
  if (scale.dtype == DType::kF32) return scale.f32()[i];
  const uint16_t bits = static_cast<const uint16_t*>(scale.data)[i];
  return scale.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

int64_t blocks(int64_t n, int64_t block) { return (n + block - 1) / block; }

bool is_blocked(const Shape& weight, const Shape& scale, int64_t block) {
  return weight.rank() == 2 && scale.rank() == 2 && scale[0] == blocks(weight[0], block) &&
         scale[1] == blocks(weight[1], block);
}

}  // namespace

float f8_e4m3_to_f32(uint8_t bits) { return table()[bits]; }

bool fp8_scale_fits(const Shape& weight, const Shape& scale, int64_t block) {
  const int64_t n = scale.elements();
  const bool per_row =
      weight.rank() == 2 && n == weight[0] && scale.rank() <= 2 && scale[0] == weight[0];
  return n == 1 || per_row || is_blocked(weight, scale, block);
}

void decode_fp8(ConstTensorView weight, ConstTensorView scale, int64_t block, TensorView out) {
  DURE_CHECK(fp8_scale_fits(weight.shape, scale.shape, block), "scale {} of weight {}",
             scale.shape.text(), weight.shape.text());
  weight.expect(DType::kF8E4M3);
  const int64_t columns = weight.shape.back(),
                rows = columns == 0 ? 0 : weight.elements() / columns;
  const bool single = scale.elements() == 1;
  const bool blocked = !single && is_blocked(weight.shape, scale.shape, block);
  const auto* in = static_cast<const uint8_t*>(weight.data);
  uint16_t* to = out.bf16();
  const int64_t step = blocked ? block : columns;  // Columns that share a scale.
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t first = 0; first < columns; first += step) {
      const int64_t at = single ? 0 : blocked ? r / block * scale.dim(1) + first / block : r;
      const float factor = scale_at(scale, at);
      const int64_t end = std::min(columns, first + step);
      for (int64_t k = first; k < end; ++k)
        to[r * columns + k] = f32_to_bf16(table()[in[r * columns + k]] * factor);
    }
  }
}

}  // namespace dure
