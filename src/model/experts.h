// model/experts.h: what the owner of routed experts computes of rows that are sorted by expert, for
// itself or for others: a sparse layer's products with what an adapter adds to them, biases and
// activation, without its routing and combination.
//
// Row results are those of the layer that has its experts itself, bit for bit. Rows may come from
// several sources, each sorted by expert; gradients of a source's rows go into a block of its own,
// so that sums stay those of the source. Not here: how rows travel (expert_exchange.h), the layer
// (layer.h).
#pragma once

#include <span>
#include <vector>

#include "model/activations.h"
#include "model/low_rank.h"
#include "tensor/host_array.h"

namespace dure {

// The widest of all sparse layers, the MTP layer among them.
FfnSizes sparse_sizes(const ModelConfig& config);
// Rows of one layer that one of so many owners may get of T tokens: each may choose as many of its
// experts as it takes.
int64_t owned_rows_max(const FfnSizes& sizes, int64_t tokens, int64_t owners);
// [rows, width] at row `first` of a pool [rows, at least width] that was taken for the widest layer
// and is filled without gaps.
TensorView rows_of_pool(TensorView pool, int64_t first, int64_t rows, int64_t width);

// Rows of sources one after another, each by expert, as counts say.
class SourcedRows {
 public:
  SourcedRows() = default;
  SourcedRows(int64_t sources_max, int64_t experts_max, Device device);
  // counts: [S, E] rows of each.
  void set(int64_t sources, int64_t experts, std::span<const int64_t> counts);

  int64_t sources() const { return sources_; }
  int64_t experts() const { return experts_; }
  int64_t rows() const { return first_.empty() ? 0 : first_.back(); }
  int64_t first(int64_t source) const { return first_[static_cast<size_t>(source)]; }
  int64_t count(int64_t source) const { return first(source + 1) - first(source); }
  // [S * E + 1] i64: group s E + e owns rows [offsets[g], offsets[g+1]) of all.
  ConstTensorView offsets(Stream& stream) { return groups_.on(stream); }
  // [E + 1] i64, of the source's rows alone.
  ConstTensorView offsets_of(int64_t source, Stream& stream) {
    return each_.on(stream).rows(source * (experts_ + 1), experts_ + 1);
  }

 private:
  int64_t sources_ = 0, experts_ = 0;
  std::vector<int64_t> first_;  // [S + 1] rows
  HostArray<int64_t> groups_, each_;
};

// The expert matrices of one layer as they are held here: [E, I, D], [E, I, D], [E, D, I], and
// their biases [E, I], [E, I], [E, D] where the layer has them.
using ExpertLayer = LayerOf<WeightView, ConstTensorView>;

// What is added to the experts' products, of all rows; null: nothing.
struct ExpertAdapter {
  const LayerAdapter* factors = nullptr;
  LowRankScratch scratch;  // a backward's; a forward's inner alone
};

// x: [R, D] rows; a: [R, I] the products, biases and activation stay there; y: [R, D] =.
void experts_forward(const ExpertLayer& w, const ActivationFacts& activation, SourcedRows& rows,
                     ConstTensorView x, const FfnActivations& a, TensorView y,
                     const ExpertAdapter& adapter, Stream& stream);

// The backward's views, [R, ...] of all sources.
struct ExpertViews {
  ConstTensorView x;   // [R, D] as experts_forward() read it
  FfnActivations a;    // [R, I] as it left it; gate and up become their gradients
  ConstTensorView dy;  // [R, D] gradient of y
  TensorView dh;       // [R, I] scratch
  TensorView dx;       // [R, D] =; not dy
};
// What one source's rows add to; empty views are frozen.
struct ExpertGradients {
  const LayerGradients* weights = nullptr;
  const LayerAdapterGradients* adapter = nullptr;  // null: frozen
};
// gradients: [S] += of each source's rows.
void experts_backward(const ExpertLayer& w, const ActivationFacts& activation, SourcedRows& rows,
                      const ExpertViews& views, std::span<const ExpertGradients> gradients,
                      const ExpertAdapter& adapter, Stream& stream);

}  // namespace dure
