// A function for each type, which takes one block apart by byte offsets, without structs;
// decoder_of() picks. The code books are block_codebooks.cc's.
#include "kernels/block_decode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/block_codebooks.h"

namespace dure {
namespace {

using Bytes = const uint8_t*;

template <typename T>
T load(Bytes at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
float half(Bytes at) { return f16_to_f32(load<uint16_t>(at)); }

// Each decoder takes one block and writes block_elements values.

void q4_0(Bytes b, float* y) {
  const float d = half(b);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((b[2 + j] & 15) - 8) * d;
    y[j + 16] = static_cast<float>((b[2 + j] >> 4) - 8) * d;
  }
}

void q4_1(Bytes b, float* y) {
  const float d = half(b), m = half(b + 2);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(b[4 + j] & 15) * d + m;
    y[j + 16] = static_cast<float>(b[4 + j] >> 4) * d + m;
  }
}

void q5_0(Bytes b, float* y) {
  const float d = half(b);
  const uint32_t high = load<uint32_t>(b + 2);
  for (int j = 0; j < 16; ++j) {
    const int low = (b[6 + j] & 15) | static_cast<int>(((high >> j) & 1) << 4);
    const int up = (b[6 + j] >> 4) | static_cast<int>(((high >> (j + 16)) & 1) << 4);
    y[j] = static_cast<float>(low - 16) * d;
    y[j + 16] = static_cast<float>(up - 16) * d;
  }
}

void q5_1(Bytes b, float* y) {
  const float d = half(b), m = half(b + 2);
  const uint32_t high = load<uint32_t>(b + 4);
  for (int j = 0; j < 16; ++j) {
    const uint32_t low = (b[8 + j] & 15u) | (((high >> j) & 1) << 4);
    const uint32_t up = (b[8 + j] >> 4) | (((high >> (j + 16)) & 1) << 4);
    y[j] = static_cast<float>(low) * d + m;
    y[j + 16] = static_cast<float>(up) * d + m;
  }
}

void q8_0(Bytes b, float* y) {
  const float d = half(b);
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(static_cast<int8_t>(b[2 + j])) * d;
}

// 16 bytes of 4-bit scale and minimum, 64 of 2-bit values, d, dmin.
void q2_k(Bytes b, float* y) {
  const Bytes scales = b, q = b + 16;
  const float d = half(b + 80), low = half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const uint8_t scale = scales[i / 16];
    const int value = (q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    y[i] = d * static_cast<float>(scale & 15) * static_cast<float>(value) -
           low * static_cast<float>(scale >> 4);
  }
}

// The 16 six-bit scales of Q3_K: low 4 bits in 8 bytes, high 2 bits in 4.
int q3_k_scale(Bytes s, int j) {
  const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
  return (low | (((s[8 + j % 4] >> (j / 4 * 2)) & 3) << 4)) - 32;
}

// 32 bytes of high bits (set: no 4 is taken away), 64 of 2-bit values, 12 of scales, d.
void q3_k(Bytes b, float* y) {
  const Bytes high = b, q = b + 32, scales = b + 96;
  const float d = half(b + 108);
  for (int j = 0; j < 16; ++j) {
    const float scale = d * static_cast<float>(q3_k_scale(scales, j));
    for (int i = 16 * j; i < 16 * j + 16; ++i) {
      const int value = (q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
      const int missing = (high[i % 32] >> (i / 32)) & 1 ? 0 : 4;
      y[i] = scale * static_cast<float>(value - missing);
    }
  }
}

// The eight six-bit scales and minima of Q4_K and Q5_K, in 12 bytes.
struct ScaleMin {
  float scale, low;
};
ScaleMin k_scale(Bytes s, int j) {
  if (j < 4) return {static_cast<float>(s[j] & 63), static_cast<float>(s[j + 4] & 63)};
  return {static_cast<float>((s[j + 4] & 15) | (s[j - 4] >> 6 << 4)),
          static_cast<float>((s[j + 4] >> 4) | (s[j] >> 6 << 4))};
}

// d, dmin, 12 bytes of scales, 128 of values: 32 bytes hold two groups of 32, low nibbles first.
void q4_k(Bytes b, float* y) {
  const float d = half(b), low = half(b + 2);
  const Bytes q = b + 16;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = k_scale(b + 4, j);
    const float scale = d * s.scale, minimum = low * s.low;
    for (int i = 0; i < 32; ++i) {
      const int value = (q[j / 2 * 32 + i] >> (j % 2 * 4)) & 15;
      y[32 * j + i] = scale * static_cast<float>(value) - minimum;
    }
  }
}

// As Q4_K, with 32 bytes of fifth bits before the values.
void q5_k(Bytes b, float* y) {
  const float d = half(b), low = half(b + 2);
  const Bytes high = b + 16, q = b + 48;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = k_scale(b + 4, j);
    const float scale = d * s.scale, minimum = low * s.low;
    for (int i = 0; i < 32; ++i) {
      const int value = ((q[j / 2 * 32 + i] >> (j % 2 * 4)) & 15) + (((high[i] >> j) & 1) << 4);
      y[32 * j + i] = scale * static_cast<float>(value) - minimum;
    }
  }
}

// 128 bytes of low 4 bits, 64 of high 2 bits, 16 scales of 8 bits, d.
void q6_k(Bytes b, float* y) {
  const Bytes low = b, high = b + 128;
  const float d = half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int in_half = i % 128, part = in_half / 32, lane = in_half % 32;
    const int nibble = (low[i / 128 * 64 + part % 2 * 32 + lane] >> (part / 2 * 4)) & 15;
    const int value = (nibble | (((high[i / 128 * 32 + lane] >> (part * 2)) & 3) << 4)) - 32;
    y[i] = d * static_cast<float>(static_cast<int8_t>(b[192 + i / 16])) * static_cast<float>(value);
  }
}

float with_sign(float value, uint32_t signs, int j) { return (signs >> j) & 1 ? -value : value; }

void put8(float scale, uint16_t code, uint32_t signs, float* y) {
  for (int j = 0; j < 8; ++j)
    y[j] = with_sign(scale * kMagnitudes2[(code >> (2 * j)) & 3], signs, j);
}

// d, then for each 32: four indices, and a word of four 7-bit sign fields and a 4-bit scale.
void iq2_xxs(Bytes b, float* y) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group) {
    const Bytes at = b + 2 + 8 * group;
    const uint32_t word = load<uint32_t>(at + 4);
    const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.25f;
    for (int k = 0; k < 4; ++k)
      put8(scale, kCodebook2_256[at[k]], even_signs((word >> (7 * k)) & 127),
           y + 32 * group + 8 * k);
  }
}

float iq2_scale(float d, uint8_t scales, int k) {
  return d * (0.5f + static_cast<float>(k < 2 ? scales & 15 : scales >> 4)) * 0.25f;
}

// d, 32 words of a 9-bit index and a 7-bit sign field, 8 bytes of two 4-bit scales.
void iq2_xs(Bytes b, float* y) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group) {
    for (int k = 0; k < 4; ++k) {
      const uint16_t word = load<uint16_t>(b + 2 + 2 * (4 * group + k));
      put8(iq2_scale(d, b[66 + group], k), kCodebook2_512[word & 511], even_signs(word >> 9),
           y + 32 * group + 8 * k);
    }
  }
}

// d, 32 low bytes of indices, 32 sign bytes, 8 bytes of high index bits, 8 of scales.
void iq2_s(Bytes b, float* y) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group) {
    for (int k = 0; k < 4; ++k) {
      const int index = b[2 + 4 * group + k] | (((b[66 + group] >> (2 * k)) & 3) << 8);
      put8(iq2_scale(d, b[74 + group], k), kCodebook2_1024[index], b[34 + 4 * group + k],
           y + 32 * group + 8 * k);
    }
  }
}

// d, 64 indices of four elements, 8 words as in IQ2_XXS.
void iq3_xxs(Bytes b, float* y) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group) {
    const uint32_t word = load<uint32_t>(b + 66 + 4 * group);
    const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    for (int i = 0; i < 32; ++i) {
      const uint16_t code = kCodebook3_256[b[2 + 8 * group + i / 4]];
      y[32 * group + i] = with_sign(scale * kMagnitudes3[(code >> (3 * (i % 4))) & 7],
                                    even_signs((word >> (7 * (i / 8))) & 127), i % 8);
    }
  }
}

// d, 64 low index bytes, 8 of ninth bits, 32 of signs, 4 of two 4-bit scales.
void iq3_s(Bytes b, float* y) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group) {
    const int scale4 = (b[106 + group / 2] >> (group % 2 * 4)) & 15;
    const float scale = d * static_cast<float>(1 + 2 * scale4);
    for (int i = 0; i < 32; ++i) {
      const int index = b[2 + 8 * group + i / 4] | (((b[66 + group] >> (i / 4)) & 1) << 8);
      const uint16_t code = kCodebook3_512[index];
      y[32 * group + i] =
          with_sign(scale * static_cast<float>(1 + 2 * ((code >> (3 * (i % 4))) & 7)),
                    b[74 + 4 * group + i / 8], i % 8);
    }
  }
}

void put_ternary(float scale, float delta, int index, float* y) {
  for (int j = 0; j < 8; ++j)
    y[j] = scale * (static_cast<float>((kCodebook1_2048[index] >> (2 * j)) & 3) - 1 + delta);
}

// d, 32 low index bytes, 8 words: four 3-bit high index parts, a 3-bit scale, the sign of the
// shift.
void iq1_s(Bytes b, float* y) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group) {
    const uint16_t word = load<uint16_t>(b + 34 + 2 * group);
    const float scale = d * static_cast<float>(2 * ((word >> 12) & 7) + 1),
                delta = word & 0x8000 ? -0.125f : 0.125f;
    for (int k = 0; k < 4; ++k)
      put_ternary(scale, delta, b[2 + 4 * group + k] | (((word >> (3 * k)) & 7) << 8),
                  y + 32 * group + 8 * k);
  }
}

// 32 low index bytes, 16 bytes of high parts and shift signs, 4 words of 3-bit scales whose top
// nibbles make d.
void iq1_m(Bytes b, float* y) {
  uint16_t words[4];
  std::memcpy(words, b + 48, 8);
  const uint16_t bits = static_cast<uint16_t>((words[0] >> 12) | ((words[1] >> 8) & 0x00F0) |
                                              ((words[2] >> 4) & 0x0F00) | (words[3] & 0xF000));
  const float d = f16_to_f32(bits);
  for (int k = 0; k < 32; ++k) {  // Eight elements each; a scale serves two.
    const int part = k / 2;
    const float scale = d * static_cast<float>(2 * ((words[part / 4] >> (part % 4 * 3)) & 7) + 1);
    const int nibble = (b[32 + k / 2] >> (k % 2 * 4)) & 15;
    put_ternary(scale, nibble & 8 ? -0.125f : 0.125f, b[k] | ((nibble & 7) << 8), y + 8 * k);
  }
}

void iq4_nl(Bytes b, float* y) {
  const float d = half(b);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(kLevels4[b[2 + j] & 15]);
    y[j + 16] = d * static_cast<float>(kLevels4[b[2 + j] >> 4]);
  }
}

// d, a word of high scale bits, 4 bytes of low ones, 128 of values.
void iq4_xs(Bytes b, float* y) {
  const float d = half(b);
  const uint16_t high = load<uint16_t>(b + 2);
  for (int group = 0; group < 8; ++group) {
    const int scale6 =
        ((b[4 + group / 2] >> (group % 2 * 4)) & 15) | (((high >> (2 * group)) & 3) << 4);
    const float scale = d * static_cast<float>(scale6 - 32);
    for (int j = 0; j < 16; ++j) {
      const uint8_t pair = b[8 + 16 * group + j];
      y[32 * group + j] = scale * static_cast<float>(kLevels4[pair & 15]);
      y[32 * group + 16 + j] = scale * static_cast<float>(kLevels4[pair >> 4]);
    }
  }
}

// Ternary, five values a byte as digits of a number below 243, scaled to 256 so that a
// multiplication gives the digit.
int ternary_digit(uint8_t byte, int digit) {
  static constexpr uint8_t powers[5] = {1, 3, 9, 27, 81};
  const uint8_t shifted = static_cast<uint8_t>(byte * powers[digit]);
  return ((shifted * 3) >> 8) - 1;
}

// 48 bytes of five digits (32 then 16 bytes wide), 4 bytes of four, d.
void tq1_0(Bytes b, float* y) {
  const float d = half(b + 52);
  for (int n = 0; n < 5; ++n) {
    for (int m = 0; m < 32; ++m) *y++ = static_cast<float>(ternary_digit(b[m], n)) * d;
  }
  for (int n = 0; n < 5; ++n) {
    for (int m = 0; m < 16; ++m) *y++ = static_cast<float>(ternary_digit(b[32 + m], n)) * d;
  }
  for (int n = 0; n < 4; ++n) {
    for (int m = 0; m < 4; ++m) *y++ = static_cast<float>(ternary_digit(b[48 + m], n)) * d;
  }
}

void tq2_0(Bytes b, float* y) {
  const float d = half(b + 64);
  for (int i = 0; i < 256; ++i)
    y[i] = static_cast<float>(((b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3) - 1) * d;
}

// The scale is a power of two, 2^(byte - 127); the levels are doubled, so half of it is taken. Byte
// 0 gives 2^-128.
void mxfp4(Bytes b, float* y) {
  const float d = std::ldexp(1.0f, static_cast<int>(b[0]) - 128);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(kLevelsE2M1[b[1 + j] & 15]) * d;
    y[j + 16] = static_cast<float>(kLevelsE2M1[b[1 + j] >> 4]) * d;
  }
}

// Unsigned E4M3; the top code is NaN in the type and 0 here, as in the reference.
float e4m3_scale(uint8_t bits) { return bits == 0x7F ? 0 : e4m3_magnitude(bits); }

// Four scales, then 8 bytes for each 16 elements, low nibbles first.
void nvfp4(Bytes b, float* y) {
  for (int group = 0; group < 4; ++group) {
    const float d = e4m3_scale(b[group]) * 0.5f;
    for (int j = 0; j < 8; ++j) {
      const uint8_t pair = b[4 + 8 * group + j];
      y[16 * group + j] = static_cast<float>(kLevelsE2M1[pair & 15]) * d;
      y[16 * group + 8 + j] = static_cast<float>(kLevelsE2M1[pair >> 4]) * d;
    }
  }
}

void q1_0(Bytes b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 128; ++i) y[i] = (b[2 + i / 8] >> (i % 8)) & 1 ? d : -d;
}

void q2_0(Bytes b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 64; ++i)
    y[i] = static_cast<float>(((b[2 + i / 4] >> (i % 4 * 2)) & 3) - 1) * d;
}

using Decoder = void (*)(Bytes, float*);

Decoder decoder_of(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return q4_0;
    case DType::kQ4_1:
      return q4_1;
    case DType::kQ5_0:
      return q5_0;
    case DType::kQ5_1:
      return q5_1;
    case DType::kQ8_0:
      return q8_0;
    case DType::kQ2_K:
      return q2_k;
    case DType::kQ3_K:
      return q3_k;
    case DType::kQ4_K:
      return q4_k;
    case DType::kQ5_K:
      return q5_k;
    case DType::kQ6_K:
      return q6_k;
    case DType::kIQ1_S:
      return iq1_s;
    case DType::kIQ1_M:
      return iq1_m;
    case DType::kIQ2_XXS:
      return iq2_xxs;
    case DType::kIQ2_XS:
      return iq2_xs;
    case DType::kIQ2_S:
      return iq2_s;
    case DType::kIQ3_XXS:
      return iq3_xxs;
    case DType::kIQ3_S:
      return iq3_s;
    case DType::kIQ4_NL:
      return iq4_nl;
    case DType::kIQ4_XS:
      return iq4_xs;
    case DType::kTQ1_0:
      return tq1_0;
    case DType::kTQ2_0:
      return tq2_0;
    case DType::kMXFP4:
      return mxfp4;
    case DType::kNVFP4:
      return nvfp4;
    case DType::kQ1_0:
      return q1_0;
    case DType::kQ2_0:
      return q2_0;
    default:
      return nullptr;
  }
}

}  // namespace

void decode_blocks(DType dtype, const void* blocks, int64_t block_count, float* out) {
  const Decoder decode = decoder_of(dtype);
  DURE_CHECK(decode != nullptr, "{} is not a block type", dtype_info(dtype).name);
  const DTypeInfo& info = dtype_info(dtype);
  for (int64_t i = 0; i < block_count; ++i)
    decode(static_cast<Bytes>(blocks) + i * info.block_bytes, out + i * info.block_elements);
}

void decode_elements(DType dtype, const void* row, int64_t first, int64_t count, float* out) {
  const DTypeInfo& info = dtype_info(dtype);
  const Bytes bytes = static_cast<Bytes>(row);
  float block[256];
  while (count > 0) {
    const int64_t index = first / info.block_elements, skip = first % info.block_elements;
    if (skip == 0 && count >= info.block_elements) {
      const int64_t whole = count / info.block_elements;
      decode_blocks(dtype, bytes + index * info.block_bytes, whole, out);
      const int64_t done = whole * info.block_elements;
      first += done;
      out += done;
      count -= done;
      continue;
    }
    decode_blocks(dtype, bytes + index * info.block_bytes, 1, block);
    const int64_t take = std::min(count, info.block_elements - skip);
    std::copy_n(block + skip, take, out);
    first += take;
    out += take;
    count -= take;
  }
}

}  // namespace dure
