// The network of permutation.h: halves of the index through four rounds, and again while the result
// lies outside the range.
#include "data/permutation.h"

#include <bit>

#include "base/check.h"
#include "base/rng.h"

namespace dure {

Permutation::Permutation(int64_t count, uint64_t seed, uint64_t stream)
    : count_(static_cast<uint64_t>(count)), seed_(seed), stream_(stream) {
  DURE_CHECK(count >= 1, "a permutation of {}", count);
  half_bits_ = (std::bit_width(count_ - 1) + 1) / 2;
  if (half_bits_ == 0) half_bits_ = 1;
  half_mask_ = (uint64_t{1} << half_bits_) - 1;
}

uint64_t Permutation::encrypt(uint64_t value) const {
  uint64_t left = value >> half_bits_, right = value & half_mask_;
  for (uint64_t round = 0; round < 4; ++round) {
    const uint64_t mixed = left ^ (philox(seed_, stream_, right << 2 | round)[0] & half_mask_);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

int64_t Permutation::at(int64_t index) const {
  DURE_CHECK(index >= 0 && static_cast<uint64_t>(index) < count_, "index {} of {}", index, count_);
  uint64_t value = encrypt(static_cast<uint64_t>(index));
  while (value >= count_)
    value = encrypt(value);  // Under four steps on average: the domain is below 4 * count.
  return static_cast<int64_t>(value);
}

}  // namespace dure
