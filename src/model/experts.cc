// One grouped product over all sources and experts, through a table of addresses; gradients source
// by source.
#include "model/experts.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/bias.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "model/layer.h"

namespace dure {
namespace {

// A stack repeated for every source: as it is for one, else by the address of each matrix.
class Repeated {
 public:
  Repeated(const WeightView& w, int64_t sources) : view_(w) {
    if (sources == 1) return;
    const int64_t experts = w.stack();
    for (int64_t s = 0; s < sources; ++s)
      for (int64_t e = 0; e < experts; ++e) addresses_.push_back(w.part(e));
    view_.data.shape = {sources * experts, w.rows(), w.columns()};
    view_.parts = addresses_.data();
  }
  operator const WeightView&() const { return view_; }

 private:
  WeightView view_;
  std::vector<const void*> addresses_;
};

// An adapter's addition to such a stack.
class RepeatedAddition {
 public:
  RepeatedAddition(const LowRank& added, int64_t sources)
      : down_(added.down, sources), up_(added.up, sources), added_{down_, up_, added.scale} {}
  RepeatedAddition(const RepeatedAddition&) = delete;
  const LowRank* get() const { return &added_; }

 private:
  Repeated down_, up_;
  LowRank added_;
};

// Calls use(s, offsets) for every source that has rows.
template <typename Use>
void for_sources(SourcedRows& rows, Stream& stream, Use&& use) {
  for (int64_t s = 0; s < rows.sources(); ++s)
    if (rows.count(s) > 0) use(s, rows.offsets_of(s, stream));
}

void add_biases(ConstTensorView bias, SourcedRows& rows, TensorView y, Stream& stream) {
  if (!bias) return;
  for_sources(rows, stream, [&](int64_t s, ConstTensorView offsets) {
    add_grouped_bias(bias, offsets, y.rows(rows.first(s), rows.count(s)), stream);
  });
}

void add_one(const LowRank& added, SourcedRows& rows, ConstTensorView x, TensorView y,
             TensorView inner, Stream& stream) {
  const RepeatedAddition repeated(added, rows.sources());
  const LowRankProduct product{repeated.get(), y};
  add_grouped_low_rank({&product, 1}, rows.offsets(stream), x, inner, stream);
}

// To gate and up, which may share a factor.
void add_to_gate_up(const ExpertAdapter& adapter, SourcedRows& rows, ConstTensorView x,
                    const FfnActivations& a, Stream& stream) {
  if (adapter.factors == nullptr) return;
  const LowRank &gate = adapter.factors->expert_gate, &up = adapter.factors->expert_up;
  if (gate && up) {
    const RepeatedAddition gates(gate, rows.sources()), ups(up, rows.sources());
    const LowRankProduct products[] = {{gates.get(), a.gate}, {ups.get(), a.up}};
    return add_grouped_low_rank(products, rows.offsets(stream), x, adapter.scratch.inner, stream);
  }
  if (gate) add_one(gate, rows, x, a.gate, adapter.scratch.inner, stream);
  if (up) add_one(up, rows, x, a.up, adapter.scratch.inner, stream);
}

void add_to_down(const ExpertAdapter& adapter, SourcedRows& rows, ConstTensorView h, TensorView y,
                 Stream& stream) {
  if (adapter.factors == nullptr || !adapter.factors->expert_down) return;
  add_one(adapter.factors->expert_down, rows, h, y, adapter.scratch.inner, stream);
}

// Of one product: its matrix's and its bias's, of one source.
struct ProductGradients {
  const WeightView& w;
  TensorView matrix, bias;
};
void weight_gradients(const ProductGradients& g, ConstTensorView offsets, ConstTensorView dy,
                      ConstTensorView x, Stream& stream) {
  if (g.matrix)
    grouped_linear_weight_gradient(offsets, dy, x, g.matrix, g.w.gradient_arithmetic(), stream);
  if (g.bias) grouped_bias_gradient(offsets, dy, g.bias, stream);
}

}  // namespace

FfnSizes sparse_sizes(const ModelConfig& config) {
  FfnSizes sizes;
  for (int64_t i = 0; i < config.layer_count() + config.mtp_layer_count; ++i)
    if (config.layer(i).sparse) sizes.add(config.layer(i));
  return sizes;
}

int64_t owned_rows_max(const FfnSizes& sizes, int64_t tokens, int64_t owners) {
  return tokens * std::min(sizes.experts_per_token, sizes.experts / owners);
}

TensorView rows_of_pool(TensorView pool, int64_t first, int64_t rows, int64_t width) {
  return pool.reshaped({pool.elements()})
      .rows(first * pool.dim(1), rows * width)
      .reshaped({rows, width});
}

SourcedRows::SourcedRows(int64_t sources_max, int64_t experts_max, Device device)
    : groups_(sources_max * experts_max + 1, device),
      each_(sources_max * (experts_max + 1), device) {
  first_.reserve(static_cast<size_t>(sources_max) + 1);
}

void SourcedRows::set(int64_t sources, int64_t experts, std::span<const int64_t> counts) {
  DURE_CHECK(std::ssize(counts) == sources * experts, "{} counts", counts.size());
  sources_ = sources;
  experts_ = experts;
  first_.assign(1, 0);
  groups_.clear();
  each_.clear();
  groups_.push_back(0);
  for (int64_t s = 0; s < sources; ++s) {
    int64_t own = 0;
    each_.push_back(0);
    for (int64_t e = 0; e < experts; ++e) {
      own += counts[static_cast<size_t>(s * experts + e)];
      each_.push_back(own);
      groups_.push_back(first_.back() + own);
    }
    first_.push_back(first_.back() + own);
  }
}

void experts_forward(const ExpertLayer& w, const ActivationFacts& activation, SourcedRows& rows,
                     ConstTensorView x, const FfnActivations& a, TensorView y,
                     const ExpertAdapter& adapter, Stream& stream) {
  if (rows.rows() == 0) return;
  const Repeated gate(w.expert_gate, rows.sources()), up(w.expert_up, rows.sources()),
      down(w.expert_down, rows.sources());
  const Product gate_up[] = {{gate, a.gate}, {up, a.up}};
  grouped_linear(gate_up, rows.offsets(stream), x, stream);
  add_to_gate_up(adapter, rows, x, a, stream);
  add_biases(w.expert_gate_bias, rows, a.gate, stream);
  add_biases(w.expert_up_bias, rows, a.up, stream);
  swiglu(a.gate, a.up, swiglu_facts(activation), a.h, stream);
  grouped_linear(down, rows.offsets(stream), a.h, y, stream);
  add_to_down(adapter, rows, a.h, y, stream);
  add_biases(w.expert_down_bias, rows, y, stream);
}

void experts_backward(const ExpertLayer& w, const ActivationFacts& activation, SourcedRows& rows,
                      const ExpertViews& v, std::span<const ExpertGradients> gradients,
                      const ExpertAdapter& adapter, Stream& stream) {
  if (rows.rows() == 0) return;
  const auto of = [&](auto view, int64_t s) { return view.rows(rows.first(s), rows.count(s)); };
  // A product's adapter: what its rows' gradients are besides, and its factors'.
  const auto through_adapter = [&](LowRank LayerAdapter::*factors,
                                   LowRankGradient LayerAdapterGradients::*places,
                                   ConstTensorView x, ConstTensorView dy, TensorView dx) {
    if (adapter.factors == nullptr || !(adapter.factors->*factors)) return;
    for_sources(rows, stream, [&](int64_t s, ConstTensorView offsets) {
      const LayerAdapterGradients* g = gradients[static_cast<size_t>(s)].adapter;
      grouped_low_rank_backward(adapter.factors->*factors,
                                g != nullptr ? g->*places : LowRankGradient{}, offsets, of(x, s),
                                of(dy, s), of(dx, s), adapter.scratch, stream);
    });
  };
  for_sources(rows, stream, [&](int64_t s, ConstTensorView offsets) {
    const LayerGradients& g = *gradients[static_cast<size_t>(s)].weights;
    weight_gradients({w.expert_down, g.expert_down, g.expert_down_bias}, offsets, of(v.dy, s),
                     of(v.a.h, s), stream);
  });
  const Repeated gate(w.expert_gate, rows.sources()), up(w.expert_up, rows.sources()),
      down(w.expert_down, rows.sources());
  const ConstTensorView groups = rows.offsets(stream);
  grouped_linear_input_gradient(down, groups, v.dy, v.dh, Write::kSet, stream);
  through_adapter(&LayerAdapter::expert_down, &LayerAdapterGradients::expert_down, v.a.h, v.dy,
                  v.dh);
  swiglu_backward(v.a.gate, v.a.up, swiglu_facts(activation), v.dh, v.a.gate, v.a.up, stream);
  for_sources(rows, stream, [&](int64_t s, ConstTensorView offsets) {
    const LayerGradients& g = *gradients[static_cast<size_t>(s)].weights;
    weight_gradients({w.expert_gate, g.expert_gate, g.expert_gate_bias}, offsets, of(v.a.gate, s),
                     of(v.x, s), stream);
    weight_gradients({w.expert_up, g.expert_up, g.expert_up_bias}, offsets, of(v.a.up, s),
                     of(v.x, s), stream);
  });
  grouped_linear_input_gradient(gate, groups, v.a.gate, v.dx, Write::kSet, stream);
  grouped_linear_input_gradient(up, groups, v.a.up, v.dx, Write::kAdd, stream);
  through_adapter(&LayerAdapter::expert_gate, &LayerAdapterGradients::expert_gate, v.x, v.a.gate,
                  v.dx);
  through_adapter(&LayerAdapter::expert_up, &LayerAdapterGradients::expert_up, v.x, v.a.up, v.dx);
}

}  // namespace dure
