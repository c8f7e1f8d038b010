// kernels/kv_store.h: the rows of a batch into the blocks of a cache (kv_view.h: how they are
// read).
#pragma once

#include "kernels/kv_view.h"

namespace dure {

// One layer's store: blocks of KvView::kTokens rows.
struct KvStore {
  TensorView keys, values;         // from its block 0 on, F32 or BF16 (rounded to nearest even)
  int64_t block_stride_bytes = 0;  // between two blocks
};

// Row t of k and v goes to row places[t] % kTokens of block places[t] / kTokens. k, v: [T, G, H]
// f32; places: [T] i64, no place twice.
void store_kv(const KvStore& store, ConstTensorView places, ConstTensorView k, ConstTensorView v,
              Stream& stream);

}  // namespace dure
