// model/model.h: one forward pass for training, prefill, decoding and the verification of drafts.
//
// Rows may come from many sequences at once; each row's result depends on its own sequence alone,
// bit for bit. Where keys and values go is the KvAccess's business. Not here: backward and losses
// (train_pass.h), caches and sampling (engine/).
#pragma once

#include "model/activations.h"
#include "model/kv_access.h"
#include "model/weights.h"

namespace dure {

struct RowBatch {
  ConstTensorView ids;        // [T] i32 tokens
  ConstTensorView positions;  // [T] i32 in their sequences
  // Which rows go through which adapter; none listed: all of them through weights.adapter, where
  // there is one.
  std::span<const AdapterRows> adapters = {};
};

// Sees a layer's activations when the layer is done, before the next one takes their place; its
// input too where its options say `observed`.
class LayerObserver {
 public:
  virtual ~LayerObserver() = default;
  virtual void layer_done(int64_t layer, const LayerActivations& activations) = 0;
};

// Leaves the hidden states after the final norm in activations.hidden(): [T, D]. Allocates nothing.
// Activations of a run of layers: from layer(begin).x, written before, to x_last().
// Checked: T <= its `rows_max`, ids inside the vocabulary.
void forward(const ModelWeights& weights, const RowBatch& batch, KvAccess& kv,
             Activations& activations, Stream& stream, LayerObserver* observer = nullptr);

// The MTP layer over rows whose hidden states (after the final norm; or an earlier step's result)
// are `hidden`: [T, D] and whose *next* tokens are batch.ids; positions are the rows' own. Leaves
// what the head reads in activations.mtp().y: [T, D]: head_logits() of row t there predict token
// t+2. Keys and values are those of layer L.
void forward_mtp(const ModelWeights& weights, ConstTensorView hidden, const RowBatch& batch,
                 KvAccess& kv, Activations& activations, Stream& stream);

// Of the rows of a head, as a batch has them of its own: `inner` is Activations::adapter_inner(),
// needed where an adapter adds to the head.
struct HeadAdapters {
  TensorView inner;
  std::span<const AdapterRows> rows = {};
};
// logits: [R, V] = of hidden rows [R, D].
void head_logits(const ModelWeights& weights, ConstTensorView hidden, TensorView logits,
                 Stream& stream, const HeadAdapters& adapters = {});

}  // namespace dure
