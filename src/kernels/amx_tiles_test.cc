// Tiles: the twin against plain definitions, and the processor's tiles against the twin.
#include "kernels/cpu/amx_tiles.h"

#include <bit>
#include <cstring>

#include "kernels/kernel_testing.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dure {
namespace {

using cpu::AmxSession;
using cpu::AmxTiles;
using cpu::PortableTiles;
using cpu::TileConfig;

struct Bytes {
  alignas(64) uint8_t at[16][64];
};
struct Words {
  alignas(64) int32_t at[16][16];
};

// A: 13 rows of 40 bytes, B: 10 rows of 28 bytes (7 columns).
constexpr int kRows = 13, kSteps = 10, kColumns = 7;
TileConfig small_tiles() {
  TileConfig config;
  for (int c = 0; c < 4; ++c) config.set(c, kRows, 4 * kColumns);
  return config.set(4, kRows, 4 * kSteps).set(5, kSteps, 4 * kColumns);
}

Bytes random_bytes(uint64_t stream) {
  Bytes bytes;
  Rng rng(5, stream);
  for (auto& row : bytes.at) {
    for (uint8_t& byte : row) byte = static_cast<uint8_t>(rng.below(256));
  }
  return bytes;
}

// bf16 numbers with exponents of [first, first + span).
Bytes random_bf16(int first, int span, uint64_t stream) {
  Bytes bytes;
  Rng rng(6, stream);
  for (auto& row : bytes.at) {
    for (int i = 0; i < 64; i += 2) {
      const int64_t exponent = first + rng.below(span);
      const auto bits = static_cast<uint16_t>(rng.below(2) << 15 | exponent << 7 | rng.below(128));
      std::memcpy(row + i, &bits, sizeof(bits));
    }
  }
  return bytes;
}

// C of the three 8-bit products and of bf16, from c.
template <typename Tiles>
void products(const TileConfig& config, const Bytes& a, const Bytes& b, const Words& c,
              Words (&out)[4]) {
  Tiles t(config);
  t.template load<4>(a.at, 64);
  t.template load<5>(b.at, 64);
  t.template load<0>(c.at, 64);
  t.template load<1>(c.at, 64);
  t.template zero<2>();
  t.template load<3>(c.at, 64);
  t.template dot_signed<0, 4, 5>();
  t.template dot_signed_unsigned<1, 4, 5>();
  t.template dot_unsigned_signed<2, 4, 5>();
  t.template dot_bf16<3, 4, 5>();
  t.template store<0>(out[0].at, 64);
  t.template store<1>(out[1].at, 64);
  t.template store<2>(out[2].at, 64);
  t.template store<3>(out[3].at, 64);
}

Words random_words(uint64_t stream) {
  Words words;
  const Bytes bytes = random_bytes(stream);
  std::memcpy(words.at, bytes.at, sizeof(words));
  return words;
}

int value(uint8_t byte, bool is_signed) { return is_signed ? static_cast<int8_t>(byte) : byte; }

TEST(AmxTiles, TwinOfBytesIsTheDefinition) {
  const Bytes a = random_bytes(1), b = random_bytes(2);
  const Words c = random_words(3);
  Words out[4] = {};
  products<PortableTiles>(small_tiles(), a, b, c, out);
  constexpr bool kASigned[] = {true, true, false}, kBSigned[] = {true, false, true};
  for (int kind = 0; kind < 3; ++kind) {
    for (int i = 0; i < 16 * 16; ++i) {
      const int m = i / 16, n = i % 16;
      int64_t sum = kind == 2 ? 0 : c.at[m][n];
      for (int k = 0; k < 4 * kSteps; ++k)
        sum +=
            value(a.at[m][k], kASigned[kind]) * value(b.at[k / 4][4 * n + k % 4], kBSigned[kind]);
      const bool inside = m < kRows && n < kColumns;
      EXPECT_EQ(out[kind].at[m][n], inside ? static_cast<int32_t>(sum) : 0) << kind << " " << i;
    }
  }
}

#if defined(__x86_64__)
// The processor's own rounding and flushing, for the time of an object.
class Flushing {
 public:
  Flushing() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~Flushing() { _mm_setcsr(before_); }

 private:
  unsigned before_;
};

__attribute__((target("fma"), noinline)) float hardware_fma(float a, float b, float c) {
  return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}
__attribute__((noinline)) float hardware_add(float a, float b) {
  return _mm_cvtss_f32(_mm_add_ss(_mm_set_ss(a), _mm_set_ss(b)));
}

float random_float(Rng& rng, int exponent, int span, uint32_t mask) {
  const auto bits = static_cast<uint32_t>(rng.below(2) << 31 | (exponent + rng.below(span)) << 23 |
                                          rng.below(1 << 23));
  return std::bit_cast<float>(bits & mask);
}

TEST(AmxTiles, OneRoundingFlushesAsProcessorsDo) {
  if (__builtin_cpu_supports("fma") == 0) GTEST_SKIP() << "no fused multiply-add here";
  constexpr uint32_t kBf16 = 0xffff0000, kF32 = 0xffffffff;
  const Flushing flushing;
  Rng rng(9, 9);
  int zeros = 0;
  for (int i = 0; i < 400'000; ++i) {
    const int low = i % 4 * 40;  // Down to products and sums about the smallest normal number.
    const float a = random_float(rng, low, 20, kBf16), b = random_float(rng, 110, 30, kBf16);
    const float c = random_float(rng, low, 24, i % 3 == 0 ? 0xff800000 : kF32);
    const float got = cpu::fma_flushed(a, b, c), sum = cpu::add_flushed(a, c);
    ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(hardware_fma(a, b, c)))
        << a << " " << b << " " << c;
    ASSERT_EQ(std::bit_cast<uint32_t>(sum), std::bit_cast<uint32_t>(hardware_add(a, c)))
        << a << " " << c;
    if (got == 0) ++zeros;
  }
  EXPECT_GT(zeros, 1000);
}

// Just below the smallest normal number: to zero, or up to it, by the rounding to 24 bits.
TEST(AmxTiles, TheEdgeOfTheNormalNumbers) {
  if (__builtin_cpu_supports("fma") == 0) GTEST_SKIP() << "no fused multiply-add here";
  const Flushing flushing;
  for (int bits = 20; bits < 40; ++bits) {
    for (int odd = 0; odd < 8; ++odd) {
      const float c = 0x1p-126f, a = -static_cast<float>(odd) * 0x1p-63f;
      const float b = std::ldexp(1.0f, -63 - bits);
      EXPECT_EQ(std::bit_cast<uint32_t>(cpu::fma_flushed(a, b, c)),
                std::bit_cast<uint32_t>(hardware_fma(a, b, c)))
          << bits << " " << odd;
    }
  }
}
#endif

TEST(AmxTiles, TwinOfBf16SumsEvenAndOddApart) {
  const Bytes a = random_bf16(120, 12, 4), b = random_bf16(118, 12, 5);
  Words c = {}, out[4] = {};
  for (int i = 0; i < 256; ++i)
    c.at[i / 16][i % 16] = std::bit_cast<int32_t>(0.25f * static_cast<float>(i));
  products<PortableTiles>(small_tiles(), a, b, c, out);
  const auto at = [](const uint8_t* from) {
    uint16_t bits;
    std::memcpy(&bits, from, sizeof(bits));
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  };
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kColumns; ++n) {
      float sums[2] = {0, 0};
      for (int k = 0; k < 2 * kSteps; ++k)
        sums[k % 2] =
            std::fma(at(a.at[m] + 2 * k), at(b.at[k / 2] + 4 * n + 2 * (k % 2)), sums[k % 2]);
      const float expected = std::bit_cast<float>(c.at[m][n]) + (sums[0] + sums[1]);
      EXPECT_EQ(std::bit_cast<float>(out[3].at[m][n]), expected) << m << " " << n;
    }
  }
}

TEST(AmxTiles, ProcessorsTilesHaveTheTwinsBits) {
  if (!cpu::amx_available()) GTEST_SKIP() << "this machine has no AMX";
  for (const TileConfig& config : {cpu::whole_tiles(), small_tiles()}) {
    for (int round = 0; round < 200; ++round) {
      const auto stream = static_cast<uint64_t>(round);
      const bool floats = round % 2 == 1;
      const Bytes a = floats ? random_bf16(round, 20, stream) : random_bytes(stream);
      const Bytes b = floats ? random_bf16(100, 30, stream + 1000) : random_bytes(stream + 1000);
      Words c = random_words(stream + 2000), real[4] = {}, twin[4] = {};
      if (floats) {
        const Bytes sums = random_bf16(round, 20, stream + 3000);
        std::memcpy(c.at, sums.at, sizeof(c));
      }
      {
        const AmxSession session(config);
        products<AmxTiles>(config, a, b, c, real);
      }
      products<PortableTiles>(config, a, b, c, twin);
      const int kinds = floats ? 4 : 3;  // Any bytes as bf16 would be infinities and NaN.
      EXPECT_EQ(std::memcmp(real, twin, sizeof(Words) * static_cast<size_t>(kinds)), 0) << round;
    }
  }
}

}  // namespace
}  // namespace dure
