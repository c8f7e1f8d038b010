// kernels/kv_view.h: the keys and values of one sequence in one layer, as attention reads them.
//
// Positions lie in blocks of kTokens anchored at absolute positions: block b holds [b * kTokens,
// (b+1) * kTokens). Three stores fit one view: contiguous activations (trainer), pages (engine,
// global layers), a ring of blocks (engine, sliding layers). Inside a block, position p's row is at
// (p % kTokens) * row_stride elements: [G, H], normed and rotated.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

struct KvView {
  // Fixed by the contract: the online softmax walks these blocks in order.
  static constexpr int64_t kTokens = 64;

  // Either tables of block addresses (entry i is block first_block + i) ...
  const void* const* key_blocks = nullptr;
  const void* const* value_blocks = nullptr;
  int64_t first_block = 0;
  // ... or, where the tables are null, position 0 of contiguous rows.
  const void* keys = nullptr;
  const void* values = nullptr;

  int64_t row_stride = 0;     // elements between two positions
  int64_t begin = 0;          // oldest position that may be read
  int64_t end = 0;            // one past the newest
  DType dtype = DType::kF32;  // F32 or BF16: storage only

  const void* key_block(int64_t block) const {
    return key_blocks != nullptr ? key_blocks[block - first_block] : contiguous(keys, block);
  }
  const void* value_block(int64_t block) const {
    return value_blocks != nullptr ? value_blocks[block - first_block] : contiguous(values, block);
  }

 private:
  const void* contiguous(const void* base, int64_t block) const {
    return static_cast<const char*>(base) +
           block * kTokens * row_stride * dtype_info(dtype).block_bytes;
  }
};

}  // namespace dure
