// engine/block_pool.h: which blocks of a store are free, and how many hold each of the others.
//
// A block is held by sequences that run and by snapshots of what they left (kv_cache.h). It is free
// again when nobody holds it. Snapshots can be given up at any time, so that what they alone hold
// counts as available to sequences. Ids only; not here: the memory (kv_cache.h), which snapshots go
// first (prefix_index.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace dure {

class BlockPool {
 public:
  enum class Holder : uint8_t { kSequence, kSnapshot };

  explicit BlockPool(int64_t count = 0);  // Blocks 0 .. count - 1, all free.

  std::optional<int32_t> take();  // A free block, held once, by a sequence; absent: none is free.
  void retain(int32_t block, Holder holder);   // Checked: it is held.
  void release(int32_t block, Holder holder);  // Checked: by such a one.

  bool shared(int32_t block) const;  // Held more than once: nobody may write to it.
  int64_t sequences(int32_t block) const { return counts_[static_cast<size_t>(block)].sequences; }

  int64_t count() const { return static_cast<int64_t>(counts_.size()); }
  int64_t free_count() const { return static_cast<int64_t>(free_.size()); }
  int64_t kept_count() const { return kept_; }  // held by snapshots alone
  int64_t available() const { return free_count() + kept_count(); }

 private:
  struct Counts {
    int32_t sequences = 0, snapshots = 0;
    bool kept() const { return sequences == 0 && snapshots > 0; }
    int32_t& of(Holder holder) { return holder == Holder::kSequence ? sequences : snapshots; }
  };

  std::vector<Counts> counts_;
  std::vector<int32_t> free_;
  int64_t kept_ = 0;
};

}  // namespace dure
