// Philox4x32-10 as its paper has it. Each 32-bit number is a quarter of a block that is computed
// anew for it: there is no state but the counter.
#include "base/rng.h"

#include <cmath>

#include "base/check.h"

namespace dure {

std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t counter) {
  uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0,
                   n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

uint64_t stream_id(const char* purpose, uint64_t a, uint64_t b) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a over the text, then both numbers.
  const auto mix = [&hash](uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (const char* p = purpose; *p != 0; ++p) mix(static_cast<uint8_t>(*p));
  for (int i = 0; i < 8; ++i) mix(static_cast<uint8_t>(a >> (8 * i)));
  for (int i = 0; i < 8; ++i) mix(static_cast<uint8_t>(b >> (8 * i)));
  return hash;
}

uint32_t Rng::next_u32() {
  const uint64_t index = counter_++;
  return philox(seed_, stream_, index / 4)[index % 4];
}

uint64_t Rng::next_u64() {
  const uint64_t low = next_u32();
  return low | (uint64_t{next_u32()} << 32);
}

double Rng::uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }

double Rng::normal() {
  const double u = 1.0 - uniform(), v = uniform();  // u in (0, 1]
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
}

int64_t Rng::below(int64_t bound) {
  DURE_CHECK(bound >= 1, "bound {}", bound);
  const uint64_t range = static_cast<uint64_t>(bound), limit = UINT64_MAX - UINT64_MAX % range;
  uint64_t value = next_u64();
  while (value >= limit) value = next_u64();
  return static_cast<int64_t>(value % range);
}

}  // namespace dure
