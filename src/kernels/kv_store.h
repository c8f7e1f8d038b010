// kernels/kv_store.h: the rows of a batch into the blocks of a cache, which lie as KvLayout::kHeads
// (kv_view.h: how they are read).
//
// Storage types: F32 keeps every bit, so that a sampler gives those of the trainer. F16 (11 bits,
// up to 65504: larger values become infinite) and BF16 (8 bits, any size) round to nearest even
// here; attention widens them exactly.
//
// Q8_0 (8.5 bits; H a whole number of 32, kHeads alone): the elements of one position and key head
// in blocks of 32 along H, as GGUF's type of this name has them. Of each block a scale s =
// f16(max|x| / 127), the quotient in f32, and codes x / s (f32 division), to the nearest integer,
// ties to even, within +-127; all 0 where s is 0. A stored value is code * s, exact in f32 (7 bits
// times 11), and attention adds it up like any other. Error of an element at most s (1/2 + 2^-17),
// which is max|x| / 254 and a thousandth of it, or 127 * 2^-25 (4e-6) where that is more. A block
// with an element that is not finite, or beyond 127 * 65504, has a scale that is not finite and
// codes of 0: each of its values reads as NaN. Twin: ref/kv_store.h.
//
// Where the codes stand: a head's share of a block of positions is its codes in the place of the
// elements, then its scales: keys [H, kTokens] and [H / 32, kTokens], values [kTokens, H] and
// [kTokens, H / 32]; in all as many bytes as row_bytes() says of kTokens * H elements.
#pragma once

#include "kernels/kv_view.h"

namespace dure {

// One layer's store: blocks of KvView::kTokens rows.
struct KvStore {
  TensorView keys, values;         // from its block 0 on: F32, BF16, F16 or Q8_0
  int64_t block_stride_bytes = 0;  // between two blocks
};

bool is_kv_type(DType dtype);
// Throws kInvalidArgument where heads of this width cannot be stored so; what to do is said.
void require_kv_width(DType dtype, int64_t head_width);

// Row t of k and v goes to position places[t] % kTokens of block places[t] / kTokens. k, v: [T, G,
// H] f32; places: [T] i64, no place twice.
void store_kv(const KvStore& store, ConstTensorView places, ConstTensorView k, ConstTensorView v,
              Stream& stream);

}  // namespace dure
