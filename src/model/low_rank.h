// model/low_rank.h: an adapter's additions to the products of a layer, forward and backward;
// internal to model/.
//
// Everything is made of kernels/linear.h's exact products: `down` multiplies, `up` (rank first) is
// an input gradient's product, so that the order contract of adapter.h needs no kernel of its own.
// The backward computes u again (the same kernel: the same bits) instead of keeping it.
#pragma once

#include <span>

#include "model/adapter.h"

namespace dure {

// y += scale * B (A x) of products that read the same x: [T, K]. inner: [>= T, >= R] scratch. Where
// `down` of one is that of the one before, u is computed once.
struct LowRankProduct {
  const LowRank* added = nullptr;
  TensorView y;  // [T, N]
};
void add_low_rank(std::span<const LowRankProduct> products, ConstTensorView x, TensorView inner,
                  Stream& stream);
// Rows sorted by expert, as grouped_linear() has them.
void add_grouped_low_rank(std::span<const LowRankProduct> products, ConstTensorView offsets,
                          ConstTensorView x, TensorView inner, Stream& stream);

// Room of a backward: two of [>= T, >= R].
struct LowRankScratch {
  TensorView inner, dinner;
};
// g += the factors' gradients (an empty view: that factor is frozen), dx += the input's, of which
// W's share is there already.
void low_rank_backward(const LowRank& added, const LowRankGradient& g, ConstTensorView x,
                       ConstTensorView dy, TensorView dx, const LowRankScratch& scratch,
                       Stream& stream);
void grouped_low_rank_backward(const LowRank& added, const LowRankGradient& g,
                               ConstTensorView offsets, ConstTensorView x, ConstTensorView dy,
                               TensorView dx, const LowRankScratch& scratch, Stream& stream);

}  // namespace dure
