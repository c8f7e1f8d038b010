// data/permutation.h: a shuffled order of 0 .. count-1 as a function, with no table: order(i) for
// any i, at once.
//
// A four-round Feistel network on the smallest even number of bits that holds `count`, its rounds
// keyed by Philox; results outside the range are walked on until one is inside (Black and Rogaway,
// "Ciphers with arbitrary finite domains", CT-RSA 2002). So a position in an epoch is one integer
// to save, whatever the size of the corpus.
#pragma once

#include <cstdint>

namespace dure {

class Permutation {
 public:
  Permutation(int64_t count, uint64_t seed, uint64_t stream);  // Checked: count >= 1.
  int64_t at(int64_t index) const;                             // Checked: 0 <= index < count.

 private:
  uint64_t encrypt(uint64_t value) const;
  uint64_t count_, seed_, stream_, half_mask_;
  int half_bits_;
};

}  // namespace dure
