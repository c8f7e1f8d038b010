// kernels/kv_view.h: the keys and values of one sequence in one layer, as attention reads them.
//
// Positions lie in blocks of kTokens anchored at absolute positions: block b holds [b * kTokens,
// (b+1) * kTokens). Three stores fit one view: contiguous activations (trainer), pages (engine,
// global layers), a ring of blocks (engine, sliding layers). A block's place in its store is an
// index, so that one table serves all layers of a kind. What lies inside a block: KvLayout. Rows
// are [G, H], normed and rotated.
//
// Why caches have a layout of their own: decoding reads each key and value once, for all query
// heads of a key head. One head's share of a block lies together there (32 KiB in f32 at H = 128: a
// stream, where rows would be 512 bytes of every 4 KiB), and keys stand as the products take them,
// positions along the lanes, where turning them cost as much as the scores.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

// Inside a block:
enum class KvLayout : uint8_t {
  kRows,   // position p's row of keys, of values: at (p % kTokens) * row_stride elements, [G, H]
  kHeads,  // keys [G, H, kTokens], values [G, kTokens, H]; Q8_0: codes and scales, kv_store.h
};

struct KvView {
  // Fixed by the contract: the online softmax walks these blocks in order.
  static constexpr int64_t kTokens = 64;

  ConstTensorView keys, values;    // the store from its block 0 on: F32, BF16, F16, Q8_0
  int64_t block_stride_bytes = 0;  // between two blocks of the store
  // [..] i32: entry i is the store's block that holds block first_block + i. Empty: block b itself.
  ConstTensorView blocks;
  int64_t first_block = 0;

  KvLayout layout = KvLayout::kRows;
  int64_t row_stride = 0;  // elements between two positions; only of kRows
  int64_t begin = 0;       // oldest position that may be read
  int64_t end = 0;         // one past the newest

  DType dtype() const { return keys.dtype; }
};

// k, v: rows of positions 0, 1, ... one after another, [T, G, H].
inline KvView contiguous_kv(ConstTensorView k, ConstTensorView v) {
  const int64_t rows = k.dim(0), stride = rows == 0 ? 0 : k.elements() / rows;
  return {.keys = k,
          .values = v,
          .block_stride_bytes = KvView::kTokens * row_bytes(k.dtype, stride),
          .blocks = {},
          .layout = KvLayout::kRows,
          .row_stride = stride,
          .end = rows};
}

}  // namespace dure
