// Rows times `down`, scaled, then `up` as the product of an input gradient, which adds to y.
#include "model/low_rank.h"

#include "kernels/linear.h"
#include "kernels/rows.h"

namespace dure {
namespace {

// [rows, rank] at the beginning of the scratch.
TensorView room(TensorView scratch, int64_t rows, int64_t rank) {
  DURE_CHECK(scratch && scratch.elements() >= rows * rank,
             "{} rows of rank {} where {} were planned for adapters", rows, rank,
             scratch.shape.text());
  scratch.shape = {rows, rank};
  return scratch;
}

// Products of plain rows, or of rows by expert where there are offsets.
struct Rows {
  ConstTensorView offsets;
  Stream& stream;

  void multiply(const WeightView& w, ConstTensorView x, TensorView y) const {
    if (offsets) return grouped_linear(w, offsets, x, y, stream);
    linear(w, x, y, stream);
  }
  void multiply_back(const WeightView& w, ConstTensorView dy, TensorView dx) const {
    if (offsets) return grouped_linear_input_gradient(w, offsets, dy, dx, Write::kAdd, stream);
    linear_input_gradient(w, dy, dx, Write::kAdd, stream);
  }
  void add_outer(ConstTensorView dy, ConstTensorView x, TensorView dw) const {
    if (!dw) return;
    if (offsets)
      return grouped_linear_weight_gradient(offsets, dy, x, dw, Arithmetic::kExact, stream);
    linear_weight_gradient(dy, x, dw, Arithmetic::kExact, stream);
  }

  // scale * x w^T, into the scratch.
  TensorView scaled(const WeightView& w, float scale, ConstTensorView x, TensorView scratch) const {
    const TensorView u = room(scratch, x.dim(0), w.rows());
    multiply(w, x, u);
    scale_by(scale, u, stream);
    return u;
  }

  void add(std::span<const LowRankProduct> products, ConstTensorView x, TensorView inner) const {
    const LowRank* before = nullptr;
    TensorView u;
    for (const LowRankProduct& p : products) {
      const bool shared = before != nullptr && before->down.data.data == p.added->down.data.data &&
                          before->scale == p.added->scale;
      if (!shared) u = scaled(p.added->down, p.added->scale, x, inner);
      before = p.added;
      multiply_back(p.added->up, u, p.y);
    }
  }

  void backward(const LowRank& added, const LowRankGradient& g, ConstTensorView x,
                ConstTensorView dy, TensorView dx, const LowRankScratch& scratch) const {
    if (g.up) add_outer(scaled(added.down, added.scale, x, scratch.inner), dy, g.up);
    const TensorView du = scaled(added.up, added.scale, dy, scratch.dinner);
    add_outer(du, x, g.down);
    multiply_back(added.down, du, dx);
  }
};

}  // namespace

void add_low_rank(std::span<const LowRankProduct> products, ConstTensorView x, TensorView inner,
                  Stream& stream) {
  Rows{{}, stream}.add(products, x, inner);
}

void add_grouped_low_rank(std::span<const LowRankProduct> products, ConstTensorView offsets,
                          ConstTensorView x, TensorView inner, Stream& stream) {
  Rows{offsets, stream}.add(products, x, inner);
}

void low_rank_backward(const LowRank& added, const LowRankGradient& g, ConstTensorView x,
                       ConstTensorView dy, TensorView dx, const LowRankScratch& scratch,
                       Stream& stream) {
  Rows{{}, stream}.backward(added, g, x, dy, dx, scratch);
}

void grouped_low_rank_backward(const LowRank& added, const LowRankGradient& g,
                               ConstTensorView offsets, ConstTensorView x, ConstTensorView dy,
                               TensorView dx, const LowRankScratch& scratch, Stream& stream) {
  Rows{offsets, stream}.backward(added, g, x, dy, dx, scratch);
}

}  // namespace dure
