// model/layer.h: one decoder layer, forward and backward; internal to model/.
//
//   pre-norm:   x_mid = x + attention(norm(x)),  out = x_mid + ffn(norm(x_mid))   (exaone_moe)
//   post-norm:  x_mid = x + norm(attention(x)),  out = x_mid + norm(ffn(x_mid))   (EXAONE 4.0)
// with attention() from the q, k, v products to the output product.
// The same functions serve the main layers and the MTP layer; a layer differs by its facts alone.
#pragma once

#include "base/check.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "model/activations.h"
#include "model/kv_access.h"
#include "model/train_pass.h"
#include "model/weights.h"

namespace dure {

struct LayerContext {
  const ModelWeights& weights;
  const LayerFacts& facts;
  int64_t index = 0;          // for the KvAccess
  ConstTensorView positions;  // [T] i32
  KvAccess& kv;
  Stream& stream;
  std::span<const AdapterRows> adapters = {};  // none where the layer is the MTP layer
  TensorView adapter_inner;                    // as Activations has them
  TensorView adapter_offsets, adapter_rows;

  const LayerAdapter& layer_of(const ModelAdapter& adapter) const {
    return adapter.layers[static_cast<size_t>(index)];
  }
};

// What the batch's adapter adds to the experts of a layer that lie elsewhere; null: nothing.
inline const LayerAdapter* expert_adapter(const LayerContext& c) {
  for (const AdapterRows& rows : c.adapters) {
    const LayerAdapter& layer = c.layer_of(*rows.adapter);
    if (!adds_to_experts(layer)) continue;
    DURE_CHECK(rows.count == c.positions.elements(),
               "an adapter of {} rows of {} adds to experts that lie elsewhere", rows.count,
               c.positions.elements());
    return &layer;
  }
  return nullptr;
}

inline ExpertCall expert_call(const LayerContext& c, const LayerWeights& w, ExpertCall::Way way,
                              const ExpertDispatch& dispatch) {
  return {way, c.index, c.facts, w, dispatch.offsets, c.stream, expert_adapter(c)};
}

// The adapters of a batch: those that it lists, else the weights' own for all rows (`all`), else
// none.
inline std::span<const AdapterRows> adapters_of(const ModelWeights& weights,
                                                std::span<const AdapterRows> listed,
                                                const AdapterRows& all) {
  if (!listed.empty()) return listed;
  return {&all, weights.adapter != nullptr ? size_t{1} : size_t{0}};
}

// a.x: [T, D] holds the input; out: [T, D] = result, which may be a.x itself where no backward
// follows.
void layer_forward(const LayerContext& context, const LayerWeights& w, LayerActivations& a,
                   TensorView out);

// What the backward of a layer needs beside the activations.
struct LayerBackwardOptions {
  ConstTensorView document_offsets;                // [Dn+1] i64
  BalanceScales balance;                           // coefficient 0: no balance loss
  TensorView balance_loss;                         // [1] f64 +=
  const LayerAdapterGradients* adapter = nullptr;  // += of its factors; null: they are frozen
};

// dw += dy^T x of the matrix w, unless it is empty: then the matrix is frozen.
inline void weight_gradient(const WeightView& w, ConstTensorView dy, ConstTensorView x,
                            TensorView dw, Stream& stream) {
  if (dw) linear_weight_gradient(dy, x, dw, w.gradient_arithmetic(), stream);
}

// Room for the gradients of one layer's intermediates; shared by all layers, as wide as the widest.
struct LayerScratch {
  LayerScratch(const ModelConfig& config, const TrainPassOptions& options, Arena& arena);
  void set_rows(int64_t row_count);
  // The shapes of a sparse layer's views below, for the rows set.
  void fit(const ExpertFacts& experts);

  TensorView dnormed;                // [T, D] of a norm's result, or of what a block gave
  TensorView dffn_input;             // [T, D] of what a post-norm layer's FFN read
  TensorView dattended, dq, dq_raw;  // [T, Q, H]
  TensorView dk, dv, dk_raw;         // [T, G, H]
  TensorView dinner;                 // [T, max(F, S)], of a dense or shared FFN's inner rows
  TensorView drows;                  // [T*K, D]
  TensorView dexpert;                // [T*K, I]; not where experts lie elsewhere
  TensorView dweights, dlogits;      // [T, K], [T, E]
  TensorView dadapter;               // [T*K, R] of an adapter's inner rows

 private:
  int64_t rows_max_ = 0, row_count_ = 0;
};

// dx: [T, D] holds the gradient of the result and leaves as that of a.x. Gradients of the weights
// are added to g (a matrix whose gradient is empty is frozen), the layer's balance loss to
// options.balance_loss. Uses up the activations: gates and ups become their gradients.
void layer_backward(const LayerContext& context, const LayerBackwardOptions& options,
                    const LayerWeights& w, LayerActivations& a, LayerScratch& scratch,
                    TensorView dx, const LayerGradients& g);

inline RouterFacts router_facts(const ExpertFacts& experts) {
  return {.expert_count = experts.count,
          .experts_per_token = experts.per_token,
          .group_count = experts.group_count,
          .groups_kept = experts.groups_kept,
          .normalise = experts.normalise,
          .scale = experts.scale,
          .scoring = experts.score == RouterScore::kSoftmax ? RouterScoring::kSoftmax
                                                            : RouterScoring::kSigmoid};
}
inline SwigluFacts swiglu_facts(const ActivationFacts& facts) {
  return {.limit = facts.limit, .alpha = facts.alpha, .offset = facts.up_offset};
}
inline AttentionShape attention_shape(const ModelConfig& config, const LayerFacts& facts) {
  return {.head_count = config.head_count,
          .kv_head_count = config.kv_head_count,
          .head_width = config.head_width,
          .window_tokens = facts.window_tokens};
}
// [T, A, B] -> [T, A*B]
template <typename View>
View flat_rows(View x) {
  return x.reshaped({x.dim(0), x.elements() / x.dim(0)});
}

}  // namespace dure
