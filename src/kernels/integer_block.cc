// A function for each type, by byte offsets, in the manner of block_decode.cc, and the facts of
// each in one table.
#include "kernels/integer_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/block_codebooks.h"

namespace dure {
namespace {

using Bytes = const uint8_t*;

float half(Bytes at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return f16_to_f32(bits);
}
uint8_t u8(int value) { return static_cast<uint8_t>(value); }

// The one sub-block of a type of 32 elements.
void single(float d, float low, IntegerBlock& out) {
  out.d = d;
  out.low = low;
  out.scales[0] = 1;
  out.minima[0] = 1;
}

// 16 bytes: low nibbles are elements 0 to 15, high ones 16 to 31; `high` holds their fifth bits.
void nibbles(Bytes q, uint32_t high, IntegerBlock& out) {
  for (uint32_t j = 0; j < 16; ++j) {
    out.values[j] = u8((q[j] & 15) | static_cast<int>(((high >> j) & 1) << 4));
    out.values[j + 16] = u8((q[j] >> 4) | static_cast<int>(((high >> (j + 16)) & 1) << 4));
  }
}

uint32_t word(Bytes at) {
  uint32_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}

void q4_0(Bytes b, IntegerBlock& out) {
  single(half(b), 0, out);
  nibbles(b + 2, 0, out);
}
void q4_1(Bytes b, IntegerBlock& out) {
  single(half(b), -half(b + 2), out);
  nibbles(b + 4, 0, out);
}
void q5_0(Bytes b, IntegerBlock& out) {
  single(half(b), 0, out);
  nibbles(b + 6, word(b + 2), out);
}
void q5_1(Bytes b, IntegerBlock& out) {
  single(half(b), -half(b + 2), out);
  nibbles(b + 8, word(b + 4), out);
}
void q8_0(Bytes b, IntegerBlock& out) {
  single(half(b), 0, out);
  for (int j = 0; j < 32; ++j) out.values[j] = b[2 + j] ^ 0x80;
}

uint8_t level4(int code) { return u8(kLevels4[code] + 128); }

void iq4_nl(Bytes b, IntegerBlock& out) {
  single(half(b), 0, out);
  for (int j = 0; j < 16; ++j) {
    out.values[j] = level4(b[2 + j] & 15);
    out.values[j + 16] = level4(b[2 + j] >> 4);
  }
}

// Doubled E2M1 codes, 16 added; the scale is a power of two.
void mxfp4(Bytes b, IntegerBlock& out) {
  single(std::ldexp(1.0f, static_cast<int>(b[0]) - 128), 0, out);
  for (int j = 0; j < 16; ++j) {
    out.values[j] = u8(kLevelsE2M1[b[1 + j] & 15] + 16);
    out.values[j + 16] = u8(kLevelsE2M1[b[1 + j] >> 4] + 16);
  }
}

int two_bits(Bytes q, int i) { return (q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3; }

void q2_k(Bytes b, IntegerBlock& out) {
  out.d = half(b + 80);
  out.low = half(b + 82);
  for (int j = 0; j < 16; ++j) {
    out.scales[j] = b[j] & 15;
    out.minima[j] = b[j] >> 4;
  }
  for (int i = 0; i < 256; ++i) out.values[i] = u8(two_bits(b + 16, i));
}

void q3_k(Bytes b, IntegerBlock& out) {
  out.d = half(b + 108);
  const Bytes s = b + 96;
  for (int j = 0; j < 16; ++j) {
    const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
    out.scales[j] = static_cast<int16_t>((low | (((s[8 + j % 4] >> (j / 4 * 2)) & 3) << 4)) - 32);
  }
  for (int i = 0; i < 256; ++i)
    out.values[i] = u8(two_bits(b + 32, i) | (((b[i % 32] >> (i / 32)) & 1) << 2));
}

// The eight six-bit scales and minima of Q4_K and Q5_K.
void k_scales(Bytes b, IntegerBlock& out) {
  out.d = half(b);
  out.low = half(b + 2);
  const Bytes s = b + 4;
  for (int j = 0; j < 4; ++j) {
    out.scales[j] = s[j] & 63;
    out.minima[j] = s[j + 4] & 63;
    out.scales[j + 4] = static_cast<int16_t>((s[j + 8] & 15) | (s[j] >> 6 << 4));
    out.minima[j + 4] = static_cast<int16_t>((s[j + 8] >> 4) | (s[j + 4] >> 6 << 4));
  }
}

void q4_k(Bytes b, IntegerBlock& out) {
  k_scales(b, out);
  for (int i = 0; i < 256; ++i)
    out.values[i] = u8((b[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4)) & 15);
}
void q5_k(Bytes b, IntegerBlock& out) {
  k_scales(b, out);
  for (int i = 0; i < 256; ++i) {
    const int low = (b[48 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4)) & 15;
    out.values[i] = u8(low | (((b[16 + i % 32] >> (i / 32)) & 1) << 4));
  }
}
void q6_k(Bytes b, IntegerBlock& out) {
  out.d = half(b + 208);
  for (int j = 0; j < 16; ++j) out.scales[j] = static_cast<int8_t>(b[192 + j]);
  for (int i = 0; i < 256; ++i) {
    const int part = i % 128 / 32, lane = i % 32;
    const int low = (b[i / 128 * 64 + part % 2 * 32 + lane] >> (part / 2 * 4)) & 15;
    out.values[i] = u8(low | (((b[128 + i / 128 * 32 + lane] >> (part * 2)) & 3) << 4));
  }
}
void iq4_xs(Bytes b, IntegerBlock& out) {
  out.d = half(b);
  const int high = b[2] | b[3] << 8;
  for (int j = 0; j < 8; ++j) {
    const int low = (b[4 + j / 2] >> (j % 2 * 4)) & 15;
    out.scales[j] = static_cast<int16_t>((low | (((high >> (2 * j)) & 3) << 4)) - 32);
  }
  for (int i = 0; i < 256; ++i)
    out.values[i] = level4((b[8 + i / 32 * 16 + i % 16] >> (i % 32 / 16 * 4)) & 15);
}

struct Row {
  DType dtype;
  IntegerFormat format;
  void (*take)(Bytes, IntegerBlock&);
};

constexpr Row kRows[] = {
    {DType::kQ4_0, {32, 32, 8, 15, false}, q4_0},
    {DType::kQ4_1, {32, 32, 0, 15, true}, q4_1},
    {DType::kQ5_0, {32, 32, 16, 31, false}, q5_0},
    {DType::kQ5_1, {32, 32, 0, 31, true}, q5_1},
    {DType::kQ8_0, {32, 32, 128, 255, false}, q8_0},
    {DType::kIQ4_NL, {32, 32, 128, 255, false}, iq4_nl},
    {DType::kMXFP4, {32, 32, 16, 28, false}, mxfp4},
    {DType::kQ2_K, {256, 16, 0, 3, true}, q2_k},
    {DType::kQ3_K, {256, 16, 4, 7, false}, q3_k},
    {DType::kQ4_K, {256, 32, 0, 15, true}, q4_k},
    {DType::kQ5_K, {256, 32, 0, 31, true}, q5_k},
    {DType::kQ6_K, {256, 16, 32, 63, false}, q6_k},
    {DType::kIQ4_XS, {256, 32, 128, 255, false}, iq4_xs},
};

const Row* row_of(DType dtype) {
  const Row* const end = std::end(kRows);
  const Row* const found =
      std::find_if(std::begin(kRows), end, [&](const Row& row) { return row.dtype == dtype; });
  return found == end ? nullptr : found;
}

}  // namespace

const IntegerFormat* integer_format(DType dtype) {
  const Row* const row = row_of(dtype);
  return row == nullptr ? nullptr : &row->format;
}

void take_apart(DType dtype, const void* block, IntegerBlock& out) {
  const Row* const row = row_of(dtype);
  DURE_CHECK(row != nullptr, "{} has no integer form", dtype_info(dtype).name);
  row->take(static_cast<Bytes>(block), out);
}

}  // namespace dure
