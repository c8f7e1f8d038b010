// Two counts a block, and a stack of those that nobody holds.
#include "engine/block_pool.h"

#include "base/check.h"

namespace dure {

BlockPool::BlockPool(int64_t count) : counts_(static_cast<size_t>(count)) {
  free_.reserve(counts_.size());
  for (int64_t i = count; i-- > 0;) free_.push_back(static_cast<int32_t>(i));
}

std::optional<int32_t> BlockPool::take() {
  if (free_.empty()) return std::nullopt;
  const int32_t block = free_.back();
  free_.pop_back();
  counts_[static_cast<size_t>(block)].sequences = 1;
  return block;
}

void BlockPool::retain(int32_t block, Holder holder) {
  Counts& counts = counts_[static_cast<size_t>(block)];
  DURE_CHECK(counts.sequences + counts.snapshots > 0, "block {} is free", block);
  const bool kept = counts.kept();
  ++counts.of(holder);
  kept_ += static_cast<int64_t>(counts.kept()) - static_cast<int64_t>(kept);
}

void BlockPool::release(int32_t block, Holder holder) {
  Counts& counts = counts_[static_cast<size_t>(block)];
  DURE_CHECK(counts.of(holder) > 0, "block {} is not held so", block);
  const bool kept = counts.kept();
  --counts.of(holder);
  kept_ += static_cast<int64_t>(counts.kept()) - static_cast<int64_t>(kept);
  if (counts.sequences + counts.snapshots == 0) free_.push_back(block);
}

bool BlockPool::shared(int32_t block) const {
  const Counts& counts = counts_[static_cast<size_t>(block)];
  return counts.sequences + counts.snapshots > 1;
}

}  // namespace dure
