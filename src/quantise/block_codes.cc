// A packer for each layout, bits set into zeroed bytes: kernels/block_decode.cc the other way
// round.
#include "quantise/block_codes.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace dure {
namespace {

void put_half(uint16_t bits, uint8_t* out) { std::memcpy(out, &bits, sizeof(bits)); }

// 32 codes of four bits, the first half in the low nibbles.
void put_nibbles(const uint8_t* code, uint8_t* out) {
  for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>(code[i] | (code[i + 16] << 4));
}

void pack_q8_0(const BlockCodes& b, uint8_t* out) {
  put_half(b.d, out);
  for (int i = 0; i < 32; ++i) out[2 + i] = static_cast<uint8_t>(b.code[i] - 127);
}

void pack_nibble_block(const BlockCodes& b, uint8_t* out) {  // Q4_0, IQ4_NL
  put_half(b.d, out);
  put_nibbles(b.code, out + 2);
}

void pack_q5_0(const BlockCodes& b, uint8_t* out) {
  uint32_t fifth = 0;
  for (int i = 0; i < 32; ++i) {
    fifth |= static_cast<uint32_t>(b.code[i] >> 4) << i;
    out[6 + i % 16] |= static_cast<uint8_t>((b.code[i] & 15) << (i / 16 * 4));
  }
  put_half(b.d, out);
  std::memcpy(out + 2, &fifth, sizeof(fifth));
}

// Two bits of every code: 128 elements share 32 bytes, 32 of them at each shift.
void put_pairs(const BlockCodes& b, uint8_t* out) {
  for (int i = 0; i < 256; ++i)
    out[i / 128 * 32 + i % 32] |= static_cast<uint8_t>((b.code[i] & 3) << (i % 128 / 32 * 2));
}

void pack_q2_k(const BlockCodes& b, uint8_t* out) {
  for (int j = 0; j < 16; ++j) out[j] = static_cast<uint8_t>(b.scale[j] | (b.low[j] << 4));
  put_pairs(b, out + 16);
  put_half(b.d, out + 80);
  put_half(b.dmin, out + 82);
}

void pack_q3_k(const BlockCodes& b, uint8_t* out) {
  for (int i = 0; i < 256; ++i) out[i % 32] |= static_cast<uint8_t>((b.code[i] >> 2) << (i / 32));
  put_pairs(b, out + 32);
  for (int j = 0; j < 16; ++j) {
    const int scale = b.scale[j] + 32;
    out[96 + j % 8] |= static_cast<uint8_t>((scale & 15) << (j / 8 * 4));
    out[104 + j % 4] |= static_cast<uint8_t>((scale >> 4) << (j / 4 * 2));
  }
  put_half(b.d, out + 108);
}

// Eight six-bit scales and minima in 12 bytes: the first four of each whole, with the high bits of
// the last four above them.
void put_scales_and_lows(const BlockCodes& b, uint8_t* out) {
  for (int j = 0; j < 4; ++j) {
    out[j] = static_cast<uint8_t>(b.scale[j] | (b.scale[j + 4] >> 4 << 6));
    out[j + 4] = static_cast<uint8_t>(b.low[j] | (b.low[j + 4] >> 4 << 6));
    out[j + 8] = static_cast<uint8_t>((b.scale[j + 4] & 15) | ((b.low[j + 4] & 15) << 4));
  }
}

// Four bits of every code: 64 elements share 32 bytes.
void put_k_nibbles(const BlockCodes& b, uint8_t* out) {
  for (int i = 0; i < 256; ++i)
    out[i / 64 * 32 + i % 32] |= static_cast<uint8_t>((b.code[i] & 15) << (i % 64 / 32 * 4));
}

void pack_q4_k(const BlockCodes& b, uint8_t* out) {
  put_half(b.d, out);
  put_half(b.dmin, out + 2);
  put_scales_and_lows(b, out + 4);
  put_k_nibbles(b, out + 16);
}

void pack_q5_k(const BlockCodes& b, uint8_t* out) {
  put_half(b.d, out);
  put_half(b.dmin, out + 2);
  put_scales_and_lows(b, out + 4);
  for (int i = 0; i < 256; ++i)
    out[16 + i % 32] |= static_cast<uint8_t>((b.code[i] >> 4) << (i / 32));
  put_k_nibbles(b, out + 48);
}

void pack_q6_k(const BlockCodes& b, uint8_t* out) {
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, part = i % 128 / 32, lane = i % 32;
    out[half * 64 + part % 2 * 32 + lane] |=
        static_cast<uint8_t>((b.code[i] & 15) << (part / 2 * 4));
    out[128 + half * 32 + lane] |= static_cast<uint8_t>((b.code[i] >> 4) << (part * 2));
  }
  for (int j = 0; j < 16; ++j) out[192 + j] = static_cast<uint8_t>(b.scale[j]);
  put_half(b.d, out + 208);
}

void pack_iq4_xs(const BlockCodes& b, uint8_t* out) {
  put_half(b.d, out);
  uint16_t high = 0;
  for (int j = 0; j < 8; ++j) {
    const int scale = b.scale[j] + 32;
    high = static_cast<uint16_t>(high | ((scale >> 4) << (2 * j)));
    out[4 + j / 2] |= static_cast<uint8_t>((scale & 15) << (j % 2 * 4));
    put_nibbles(b.code + 32 * j, out + 8 + 16 * j);
  }
  put_half(high, out + 2);
}

}  // namespace

void pack_block(DType dtype, const BlockCodes& codes, uint8_t* out) {
  std::fill_n(out, dtype_info(dtype).block_bytes, uint8_t{0});
  switch (dtype) {
    case DType::kQ8_0:
      return pack_q8_0(codes, out);
    case DType::kQ4_0:
    case DType::kIQ4_NL:
      return pack_nibble_block(codes, out);
    case DType::kQ5_0:
      return pack_q5_0(codes, out);
    case DType::kQ2_K:
      return pack_q2_k(codes, out);
    case DType::kQ3_K:
      return pack_q3_k(codes, out);
    case DType::kQ4_K:
      return pack_q4_k(codes, out);
    case DType::kQ5_K:
      return pack_q5_k(codes, out);
    case DType::kQ6_K:
      return pack_q6_k(codes, out);
    case DType::kIQ4_XS:
      return pack_iq4_xs(codes, out);
    default:
      DURE_CHECK(false, "no encoder for {}", dtype_info(dtype).name);
  }
}

uint16_t to_half(double value) {
  return f32_to_f16(static_cast<float>(std::clamp(value, -65504.0, 65504.0)));
}

}  // namespace dure
