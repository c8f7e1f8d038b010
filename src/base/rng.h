// base/rng.h: counter-based random numbers (Philox4x32-10): value = f(seed, stream, counter), no
// hidden state.
//
// The same (seed, stream, counter) gives the same bits on every machine and for any thread count. A
// stream is a purpose (data order, initialisation of tensor 17, sampling of rollout 5); its
// position is one integer to save. Source: Salmon et al., "Parallel random numbers: as easy as 1,
// 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>

namespace dure {

std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t counter);

// Mixes a text or number into a stream id, so that purposes cannot collide by accident.
uint64_t stream_id(const char* purpose, uint64_t a = 0, uint64_t b = 0);

class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0, uint64_t counter = 0)
      : seed_(seed), stream_(stream), counter_(counter) {}

  uint32_t next_u32();
  uint64_t next_u64();
  double uniform();              // [0, 1), 53 bits.
  double normal();               // Standard normal (Box-Muller, one value a call).
  int64_t below(int64_t bound);  // [0, bound), without bias. Checked: bound >= 1.
  // Both ends included.
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }

  template <typename Container>
  void shuffle(Container& items) {  // Fisher-Yates.
    for (int64_t i = static_cast<int64_t>(items.size()) - 1; i > 0; --i)
      std::swap(items[i], items[below(i + 1)]);
  }

  uint64_t seed() const { return seed_; }
  uint64_t stream() const { return stream_; }
  // Save this, and construct with it, to resume: see next_u32().
  uint64_t counter() const { return counter_; }

 private:
  uint64_t seed_, stream_, counter_;  // counter_ counts u32 values handed out.
};

}  // namespace dure
