// kernels/kv_store.h: the rows of a batch into the blocks of a cache, which lie as KvLayout::kHeads
// (kv_view.h: how they are read).
//
// Storage types: F32 keeps every bit, so that a sampler gives those of the trainer. F16 (11 bits,
// up to 65504: larger values become infinite) and BF16 (8 bits, any size) round to nearest even
// here; attention widens them exactly. Another type, in blocks with scales along the positions or
// the width, would be one more case here and in cpu/attention_simd.cc, where a block is made f32.
#pragma once

#include "kernels/kv_view.h"

namespace dure {

// One layer's store: blocks of KvView::kTokens rows.
struct KvStore {
  TensorView keys, values;         // from its block 0 on, F32, BF16 or F16
  int64_t block_stride_bytes = 0;  // between two blocks
};

bool is_kv_type(DType dtype);

// Row t of k and v goes to position places[t] % kTokens of block places[t] / kTokens. k, v: [T, G,
// H] f32; places: [T] i64, no place twice.
void store_kv(const KvStore& store, ConstTensorView places, ConstTensorView k, ConstTensorView v,
              Stream& stream);

}  // namespace dure
