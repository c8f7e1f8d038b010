// Tiles in plain memory; what the processor and the system say of the real ones; and the comparison
// of the two that comes before the first use.
#include "kernels/cpu/amx_tiles.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>

#include "base/log.h"
#include "base/rng.h"

#if defined(__x86_64__) && defined(__linux__)
#define DURE_HAS_AMX 1
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dure::cpu {
namespace {

float bf16_at(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float without_denormals(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}

// a + b rounded to odd: the exact sum where it is a double, else of the two doubles about it the
// one whose last bit is 1. Rounded again to f32 it gives what one rounding of the exact sum gives.
double add_to_odd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  const auto bits = std::bit_cast<uint64_t>(sum);
  if (error == 0 || (bits & 1) != 0) return sum;
  return std::bit_cast<double>((error > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

// To f32, flushed where it is below the normal numbers after rounding to 24 bits.
float rounded_flushed(double x) {
  constexpr double kSmallest = 0x1p-126 * (1 - 0x1p-25);
  if (std::abs(x) < kSmallest) return std::copysign(0.0f, static_cast<float>(std::copysign(1, x)));
  return static_cast<float>(x);
}

template <bool kSigned>
int32_t byte_value(uint8_t byte) {
  return kSigned ? static_cast<int8_t>(byte) : byte;
}

template <bool kASigned, bool kBSigned>
uint32_t dot4(const uint8_t* a, const uint8_t* b) {
  int32_t sum = 0;
  for (int i = 0; i < 4; ++i) sum += byte_value<kASigned>(a[i]) * byte_value<kBSigned>(b[i]);
  return static_cast<uint32_t>(sum);
}

uint32_t dot4(const uint8_t* a, const uint8_t* b, bool a_signed, bool b_signed) {
  if (a_signed) return b_signed ? dot4<true, true>(a, b) : dot4<true, false>(a, b);
  return b_signed ? dot4<false, true>(a, b) : dot4<false, false>(a, b);
}

template <typename T>
T get(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
template <typename T>
void put(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof(value));
}

}  // namespace

float fma_flushed(float a, float b, float c) {
  const double product =
      static_cast<double>(without_denormals(a)) * static_cast<double>(without_denormals(b));
  return rounded_flushed(add_to_odd(product, without_denormals(c)));
}

float add_flushed(float a, float b) {
  return rounded_flushed(add_to_odd(without_denormals(a), without_denormals(b)));
}

// ---- the twin

void PortableTiles::clear(int tile) { std::memset(memory_[tile], 0, sizeof(memory_[0])); }

void PortableTiles::read(int tile, const void* from, int64_t stride) {
  clear(tile);
  for (int r = 0; r < config_.rows[tile]; ++r)
    std::memcpy(memory_[tile][r], static_cast<const char*>(from) + r * stride,
                config_.row_bytes[tile]);
}

void PortableTiles::write(int tile, void* to, int64_t stride) const {
  for (int r = 0; r < config_.rows[tile]; ++r)
    std::memcpy(static_cast<char*>(to) + r * stride, memory_[tile][r], config_.row_bytes[tile]);
}

void PortableTiles::check_shapes(int c, int a, int b) const {
  DURE_CHECK(c != a && c != b && a != b, "tiles {}, {}, {}", c, a, b);
  DURE_CHECK(config_.rows[c] == config_.rows[a], "rows of tiles {} and {}", c, a);
  DURE_CHECK(config_.row_bytes[c] == config_.row_bytes[b], "columns of tiles {} and {}", c, b);
  DURE_CHECK(config_.row_bytes[a] == 4 * config_.rows[b], "inner size of tiles {} and {}", a, b);
}

void PortableTiles::dot8(int c, int a, int b, bool a_signed, bool b_signed) {
  check_shapes(c, a, b);
  for (int m = 0; m < config_.rows[c]; ++m) {
    for (int n = 0; n < config_.row_bytes[c] / 4; ++n) {
      uint8_t* const at = memory_[c][m] + 4 * n;
      auto sum = get<uint32_t>(at);
      for (int s = 0; s < config_.rows[b]; ++s)
        sum += dot4(memory_[a][m] + 4 * s, memory_[b][s] + 4 * n, a_signed, b_signed);
      put(at, sum);
    }
  }
}

void PortableTiles::dot16(int c, int a, int b) {
  check_shapes(c, a, b);
  for (int m = 0; m < config_.rows[c]; ++m) {
    for (int n = 0; n < config_.row_bytes[c] / 4; ++n) {
      float even = 0, odd = 0;
      for (int s = 0; s < config_.rows[b]; ++s) {
        const uint8_t *const x = memory_[a][m] + 4 * s, *const w = memory_[b][s] + 4 * n;
        even = fma_flushed(bf16_at(x), bf16_at(w), even);
        odd = fma_flushed(bf16_at(x + 2), bf16_at(w + 2), odd);
      }
      uint8_t* const at = memory_[c][m] + 4 * n;
      put(at, add_flushed(get<float>(at), add_flushed(even, odd)));
    }
  }
}

// ---- the instructions

#ifdef DURE_HAS_AMX

AmxSession::AmxSession(const TileConfig& config) { asm volatile("ldtilecfg %0" ::"m"(config)); }
AmxSession::~AmxSession() { asm volatile("tilerelease"); }

namespace {

bool processor_has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25, kBf16 = 1u << 22;
  return (d & kTile) != 0 && (d & kInt8) != 0 && (d & kBf16) != 0;
}

// The system saves tiles when it changes threads.
bool system_keeps_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kOsXsave = 1u << 27, kTileStates = 3u << 17;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsXsave) == 0) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kTileStates) == kTileStates;
}

bool permission_granted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// All four kinds of product over tiles of every byte (finite numbers for bf16), twice each so that
// sums start from something.
template <typename Tiles>
void sample_products(const uint8_t (*from)[kTileRows][kTileRowBytes], int32_t (*to)[16][16]) {
  Tiles t(whole_tiles());
  t.template load<4>(from[0], kTileRowBytes);
  t.template load<5>(from[1], kTileRowBytes);
  t.template load<6>(from[2], kTileRowBytes);
  t.template load<7>(from[3], kTileRowBytes);
  for (int twice = 0; twice < 2; ++twice) {
    t.template dot_signed<0, 4, 5>();
    t.template dot_signed_unsigned<1, 4, 5>();
    t.template dot_unsigned_signed<2, 4, 5>();
    t.template dot_bf16<3, 6, 7>();
  }
  t.template store<0>(to[0], kTileRowBytes);
  t.template store<1>(to[1], kTileRowBytes);
  t.template store<2>(to[2], kTileRowBytes);
  t.template store<3>(to[3], kTileRowBytes);
}

// A bf16 number with any sign and fraction.
void put_bf16(uint8_t* at, int64_t exponent, Rng& rng) {
  put(at, static_cast<uint16_t>(rng.below(2) << 15 | exponent << 7 | rng.below(128)));
}

bool equals_twin() {
  alignas(64) uint8_t from[4][kTileRows][kTileRowBytes];
  alignas(64) int32_t real[4][16][16], twin[4][16][16];
  Rng rng(20261127, 18);
  for (int r = 0; r < kTileRows; ++r) {
    for (int i = 0; i < kTileRowBytes; ++i) {
      for (int t = 0; t < 2; ++t) from[t][r][i] = static_cast<uint8_t>(rng.below(256));
    }
    for (int i = 0; i < kTileRowBytes; i += 2) {  // The first rows meet denormals.
      put_bf16(from[2][r] + i, 8 * r + rng.below(12), rng);
      put_bf16(from[3][r] + i, 110 + rng.below(24), rng);
    }
  }
  {
    const AmxSession session(whole_tiles());
    sample_products<AmxTiles>(from, real);
  }
  sample_products<PortableTiles>(from, twin);
  return std::memcmp(real, twin, sizeof(real)) == 0;
}

bool find_tiles() {
  if (!processor_has_tiles() || !system_keeps_tiles()) return false;
  if (!permission_granted()) {
    log_warn("the processor has AMX, but the system does not grant its tiles: not used");
    return false;
  }
  if (!equals_twin()) {
    log_warn("the processor's AMX gives other products than its definition: not used");
    return false;
  }
  return true;
}

}  // namespace

bool amx_available() {
  static const bool available = find_tiles();
  return available;
}

#else

AmxSession::AmxSession(const TileConfig&) {}
AmxSession::~AmxSession() = default;
bool amx_available() { return false; }

#endif

}  // namespace dure::cpu
