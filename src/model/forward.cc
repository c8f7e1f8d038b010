// The forward pass: a layer's blocks, the layers, the head, the MTP layer.
#include "kernels/attention.h"
#include "kernels/bias.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/router.h"
#include "kernels/rows.h"
#include "model/layer.h"
#include "model/low_rank.h"
#include "model/model.h"

namespace dure {
namespace {

// A product that adapters may add to: the place of its factors in a layer's adapter.
struct Adapted {
  LowRank LayerAdapter::*place;
  TensorView y;
};

// What the adapters of the batch add to products that read x: [T, K].
void add_adapters(const LayerContext& c, std::initializer_list<Adapted> products,
                  ConstTensorView x) {
  for (const AdapterRows& rows : c.adapters) {
    std::array<LowRankProduct, 3> list;
    size_t count = 0;
    for (const Adapted& p : products) {
      const LowRank& added = c.layer_of(*rows.adapter).*p.place;
      if (added) list[count++] = {&added, p.y.rows(rows.first, rows.count)};
    }
    if (count > 0)
      add_low_rank({list.data(), count}, x.rows(rows.first, rows.count), c.adapter_inner, c.stream);
  }
}

// What is free beside experts' products while they are added to: rows of x and of y.
struct ExpertRoom {
  TensorView x, y;
};

// Rows of an adapter that is not the batch's only one, through copies side by side.
void add_to_some(const LayerContext& c, const AdapterRows& rows,
                 std::span<const LowRankProduct> products, const ExpertDispatch& dispatch,
                 ConstTensorView x, const ExpertRoom& room) {
  const int64_t count = rows.count * c.facts.experts.per_token;
  TensorView offsets = c.adapter_offsets;
  offsets.shape = dispatch.offsets.shape;
  const TensorView chosen = c.adapter_rows.rows(0, count), x_rows = room.x.rows(0, count),
                   y_rows = room.y.rows(0, count);
  select_tokens(dispatch, rows.first, rows.count, offsets, chosen, c.stream);
  gather_rows(x, chosen, x_rows, c.stream);
  for (const LowRankProduct& product : products) {
    gather_rows(product.y, chosen, y_rows, c.stream);
    const LowRankProduct added{product.added, y_rows};
    add_grouped_low_rank({&added, 1}, offsets, x_rows, c.adapter_inner, c.stream);
    scatter_rows(y_rows, chosen, product.y, c.stream);
  }
}

// The same of experts' products; x: [T*K, K] rows by expert.
void add_expert_adapters(const LayerContext& c, std::initializer_list<Adapted> products,
                         const ExpertDispatch& dispatch, ConstTensorView x,
                         const ExpertRoom& room) {
  for (const AdapterRows& rows : c.adapters) {
    std::array<LowRankProduct, 2> list;
    size_t count = 0;
    for (const Adapted& p : products) {
      const LowRank& added = c.layer_of(*rows.adapter).*p.place;
      if (added) list[count++] = {&added, p.y};
    }
    if (count == 0) continue;
    if (rows.count == c.positions.elements()) {
      add_grouped_low_rank({list.data(), count}, dispatch.offsets, x, c.adapter_inner, c.stream);
    } else {
      add_to_some(c, rows, {list.data(), count}, dispatch, x, room);
    }
  }
}

bool adds_to_experts(const LayerContext& c) {
  for (const AdapterRows& rows : c.adapters) {
    const LayerAdapter& layer = c.layer_of(*rows.adapter);
    if (layer.expert_gate || layer.expert_up) return true;
  }
  return false;
}

// Norm and rotation of q or k, or the rotation alone.
void prepare_heads(const LayerContext& c, ConstTensorView norm, ConstTensorView raw, TensorView y,
                   TensorView inverse_rms) {
  const RopeTable rope = c.weights.rope(c.facts.rope);
  if (norm) {
    head_norm_rope(raw, norm, c.weights.config.norm_epsilon, rope, c.positions, y, inverse_rms,
                   c.stream);
  } else {
    head_rope(raw, rope, c.positions, y, c.stream);
  }
}

// input: [T, D]; out: [T, D] of the output product.
void attention_block(const LayerContext& c, const LayerWeights& w, LayerActivations& a,
                     ConstTensorView input, TensorView out) {
  Stream& stream = c.stream;
  const Product qkv[] = {
      {w.q, flat_rows(a.q_raw)}, {w.k, flat_rows(a.k_raw)}, {w.v, flat_rows(a.v)}};
  linear(qkv, input, stream);
  add_adapters(c,
               {{&LayerAdapter::q, flat_rows(a.q_raw)},
                {&LayerAdapter::k, flat_rows(a.k_raw)},
                {&LayerAdapter::v, flat_rows(a.v)}},
               input);
  if (w.q_bias) {
    add_bias(w.q_bias, flat_rows(a.q_raw), stream);
    add_bias(w.k_bias, flat_rows(a.k_raw), stream);
    add_bias(w.v_bias, flat_rows(a.v), stream);
  }
  prepare_heads(c, w.q_norm, a.q_raw, a.q, a.q_inverse_rms);
  prepare_heads(c, w.k_norm, a.k_raw, a.k, a.k_inverse_rms);
  c.kv.append(c.index, a.k, a.v, stream);
  attention(attention_shape(c.weights.config, c.facts), c.kv.segments(c.index), a.q, w.sinks,
            a.attended, a.log_sum_exp, stream);
  linear(w.o, flat_rows(a.attended), out, stream);
  add_adapters(c, {{&LayerAdapter::o, out}}, flat_rows(a.attended));
  if (w.o_bias) add_bias(w.o_bias, out, stream);
}

// The layer's own experts, rows gathered or taken as their arithmetic has it.
void routed_experts(const LayerContext& c, const LayerWeights& w, ConstTensorView h,
                    const ExpertDispatch& dispatch, MoeActivations& a) {
  Stream& stream = c.stream;
  const Product gate_up[] = {{w.expert_gate, a.ffn.gate}, {w.expert_up, a.ffn.up}};
  const bool takes = takes_rows(w.expert_gate) && takes_rows(w.expert_up);
  if (!takes || adds_to_experts(c)) gather_rows(h, dispatch.row_token, a.inputs, stream);
  if (takes) {
    grouped_linear_take(gate_up, dispatch.offsets, dispatch.row_token, h, stream);
  } else {
    grouped_linear(gate_up, dispatch.offsets, a.inputs, stream);
  }
  add_expert_adapters(
      c, {{&LayerAdapter::expert_gate, a.ffn.gate}, {&LayerAdapter::expert_up, a.ffn.up}}, dispatch,
      a.inputs, {.x = a.outputs, .y = a.ffn.h});
  if (w.expert_gate_bias) {
    add_grouped_bias(w.expert_gate_bias, dispatch.offsets, a.ffn.gate, stream);
    add_grouped_bias(w.expert_up_bias, dispatch.offsets, a.ffn.up, stream);
  }
  swiglu(a.ffn.gate, a.ffn.up, swiglu_facts(c.facts.activation), a.ffn.h, stream);
  grouped_linear(w.expert_down, dispatch.offsets, a.ffn.h, a.outputs, stream);
  add_expert_adapters(c, {{&LayerAdapter::expert_down, a.outputs}}, dispatch, a.ffn.h,
                      {.x = a.ffn.gate, .y = a.inputs});
  if (w.expert_down_bias) add_grouped_bias(w.expert_down_bias, dispatch.offsets, a.outputs, stream);
}

// Up to its activation, and the product after it.
void shared_inner(const LayerContext& c, const LayerWeights& w, ConstTensorView h,
                  FfnActivations& a) {
  if (!w.shared_gate) return;
  const Product shared[] = {{w.shared_gate, a.gate}, {w.shared_up, a.up}};
  linear(shared, h, c.stream);
  if (c.weights.experts != nullptr) c.weights.experts->advance();
  add_adapters(c, {{&LayerAdapter::shared_gate, a.gate}, {&LayerAdapter::shared_up, a.up}}, h);
  swiglu(a.gate, a.up, swiglu_facts(c.facts.activation), a.h, c.stream);
}
void shared_outer(const LayerContext& c, const LayerWeights& w, MoeActivations& a) {
  if (!w.shared_gate) return;
  linear(w.shared_down, a.shared.h, a.shared_output, c.stream);
  add_adapters(c, {{&LayerAdapter::shared_down, a.shared_output}}, a.shared.h);
}

// Rows travel while the shared expert is computed.
void experts_elsewhere(const LayerContext& c, const LayerWeights& w, ConstTensorView h,
                       const ExpertDispatch& dispatch, MoeActivations& a) {
  ExpertExchange& exchange = *c.weights.experts;
  const ExpertCall call = expert_call(c, w, ExpertCall::Way::kForward, dispatch);
  gather_rows(h, dispatch.row_token, a.inputs, c.stream);
  exchange.send(call, a.inputs);
  shared_inner(c, w, h, a.shared);
  exchange.turn(call, a.outputs);
  shared_outer(c, w, a);
  exchange.receive(call);
}

void moe_block(const LayerContext& c, const LayerWeights& w, ConstTensorView h, MoeActivations& a,
               TensorView out) {
  Stream& stream = c.stream;
  linear(w.router, h, a.logits, stream);
  if (w.router_logit_bias) add_bias(w.router_logit_bias, a.logits, stream);
  const RouterFacts facts = router_facts(c.facts.experts);
  route(facts, a.logits, w.router_bias, a.probabilities, a.experts, a.weights, stream);
  const ExpertDispatch dispatch = a.dispatch();
  dispatch_experts(a.experts, facts, dispatch, stream);
  if (c.weights.experts != nullptr) {
    experts_elsewhere(c, w, h, dispatch, a);
  } else {
    routed_experts(c, w, h, dispatch, a);
    shared_inner(c, w, h, a.shared);
    shared_outer(c, w, a);
  }
  combine_experts(dispatch, a.outputs, a.weights, a.shared_output, out, stream);
}

void dense_block(const LayerContext& c, const LayerWeights& w, ConstTensorView h, FfnActivations& a,
                 TensorView out) {
  const Product gate_up[] = {{w.gate, a.gate}, {w.up, a.up}};
  linear(gate_up, h, c.stream);
  add_adapters(c, {{&LayerAdapter::gate, a.gate}, {&LayerAdapter::up, a.up}}, h);
  swiglu(a.gate, a.up, swiglu_facts(c.facts.activation), a.h, c.stream);
  linear(w.down, a.h, out, c.stream);
  add_adapters(c, {{&LayerAdapter::down, out}}, a.h);
}

void ffn_block(const LayerContext& c, const LayerWeights& w, ConstTensorView input,
               LayerActivations& a, TensorView out) {
  if (c.facts.sparse) {
    moe_block(c, w, input, a.moe, out);
  } else {
    dense_block(c, w, input, a.dense, out);
  }
}

}  // namespace

void layer_forward(const LayerContext& c, const LayerWeights& w, LayerActivations& a,
                   TensorView out) {
  const double epsilon = c.weights.config.norm_epsilon;
  Stream& stream = c.stream;
  if (c.facts.norm_order == NormOrder::kPre) {
    rms_norm(a.x, w.attention_norm, epsilon, a.attention_normed, a.x_inverse_rms, stream);
    attention_block(c, w, a, a.attention_normed, a.x_mid);
    add_to(a.x, a.x_mid, stream);
    rms_norm(a.x_mid, w.ffn_norm, epsilon, a.ffn_normed, a.mid_inverse_rms, stream);
    ffn_block(c, w, a.ffn_normed, a, out);
  } else {
    attention_block(c, w, a, a.x, a.attention_output);
    rms_norm(a.attention_output, w.attention_norm, epsilon, a.x_mid, a.x_inverse_rms, stream);
    add_to(a.x, a.x_mid, stream);
    ffn_block(c, w, a.x_mid, a, a.ffn_output);
    rms_norm(a.ffn_output, w.ffn_norm, epsilon, out, a.mid_inverse_rms, stream);
  }
  add_to(a.x_mid, out, stream);
}

void forward(const ModelWeights& weights, const RowBatch& batch, KvAccess& kv,
             Activations& activations, Stream& stream, LayerObserver* observer) {
  const ModelConfig& config = weights.config;
  DURE_CHECK_EQ(batch.ids.elements(), batch.positions.elements());
  activations.set_rows(batch.ids.elements());
  const AdapterRows all{weights.adapter.get(), 0, batch.ids.elements()};
  const std::span<const AdapterRows> adapters = adapters_of(weights, batch.adapters, all);
  const Holding& holding = activations.options().holding;
  if (holding.embedding) embedding(weights.embedding, batch.ids, activations.layer(0).x, stream);
  for (int64_t i = activations.layer_begin(); i < activations.layer_end(); ++i) {
    const LayerContext context{weights,
                               config.layers[static_cast<size_t>(i)],
                               i,
                               batch.positions,
                               kv,
                               stream,
                               adapters,
                               activations.adapter_inner(),
                               activations.adapter_offsets(),
                               activations.adapter_rows()};
    layer_forward(context, weights.layers[static_cast<size_t>(i)], activations.layer(i),
                  activations.output_of(i));
    if (observer != nullptr) observer->layer_done(i, activations.layer(i));
  }
  if (!holding.head) return;
  rms_norm(activations.x_last(), weights.norm, config.norm_epsilon, activations.hidden(),
           activations.inverse_rms(), stream);
}

void forward_mtp(const ModelWeights& weights, ConstTensorView hidden, const RowBatch& batch,
                 KvAccess& kv, Activations& activations, Stream& stream) {
  const ModelConfig& config = weights.config;
  const MtpWeights& w = weights.mtp;
  MtpActivations& a = activations.mtp();
  DURE_CHECK(a.y, "no room was planned for the MTP layer");
  DURE_CHECK(
      batch.ids.elements() == batch.positions.elements() && hidden.dim(0) == batch.ids.elements(),
      "{} ids, {} positions, hidden {}", batch.ids.elements(), batch.positions.elements(),
      hidden.shape.text());
  activations.set_rows(hidden.dim(0));
  if (activations.options().holding.embedding)
    embedding(weights.embedding, batch.ids, a.embedded, stream);
  rms_norm(a.embedded, w.embedding_norm, config.norm_epsilon, a.embedded_normed,
           a.embedding_inverse_rms, stream);
  rms_norm(hidden, w.hidden_norm, config.norm_epsilon, a.hidden_normed, a.hidden_inverse_rms,
           stream);
  concat_columns(a.embedded_normed, a.hidden_normed, a.joined, stream);
  linear(w.fc, a.joined, a.layer.x, stream);
  const LayerContext context{weights, config.mtp_layer, config.layer_count(), batch.positions, kv,
                             stream};
  layer_forward(context, w.layer, a.layer, a.x);
  rms_norm(a.x, w.norm, config.norm_epsilon, a.y, a.inverse_rms, stream);
}

void head_logits(const ModelWeights& weights, ConstTensorView hidden, TensorView logits,
                 Stream& stream, const HeadAdapters& adapters) {
  linear(weights.head, hidden, logits, stream);
  const AdapterRows all{weights.adapter.get(), 0, hidden.dim(0)};
  for (const AdapterRows& rows : adapters_of(weights, adapters.rows, all)) {
    if (!rows.adapter->head) continue;
    const LowRankProduct product{&rows.adapter->head, logits.rows(rows.first, rows.count)};
    add_low_rank({&product, 1}, hidden.rows(rows.first, rows.count), adapters.inner, stream);
  }
}

}  // namespace dure
