// The backward pass of one layer, block by block, and the room for it.
#include <algorithm>

#include "kernels/attention.h"
#include "kernels/bias.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/router.h"
#include "kernels/rows.h"
#include "model/layer.h"
#include "model/low_rank.h"

namespace dure {
namespace {

void expert_weight_gradient(const WeightView& w, ConstTensorView offsets, ConstTensorView dy,
                            ConstTensorView x, TensorView dw, Stream& stream) {
  if (dw) grouped_linear_weight_gradient(offsets, dy, x, dw, w.gradient_arithmetic(), stream);
}

// Where a product's adapter and the gradients of its factors lie.
struct AdapterPlace {
  LowRank LayerAdapter::*factors;
  LowRankGradient LayerAdapterGradients::*gradients;
};

// What a backward of one product reads and adds to: x [T, K], dy [T, N], dx [T, K] +=.
struct ProductRows {
  ConstTensorView x, dy;
  TensorView dx;
};

// The adapter's share of a product's gradients; rows by expert where there are offsets.
void adapter_backward(const LayerContext& c, const LayerBackwardOptions& options,
                      const AdapterPlace& place, const ProductRows& rows, const LayerScratch& s,
                      ConstTensorView offsets = {}) {
  for (const AdapterRows& stretch : c.adapters) {
    const LowRank& added = c.layer_of(*stretch.adapter).*place.factors;
    if (!added) continue;
    const LowRankGradient g =
        options.adapter != nullptr ? options.adapter->*place.gradients : LowRankGradient{};
    const LowRankScratch room{c.adapter_inner, s.dadapter};
    if (offsets) {
      grouped_low_rank_backward(added, g, offsets, rows.x, rows.dy, rows.dx, room, c.stream);
    } else {
      low_rank_backward(added, g, rows.x, rows.dy, rows.dx, room, c.stream);
    }
  }
}

#define DURE_PLACE(field) \
  AdapterPlace { &LayerAdapter::field, &LayerAdapterGradients::field }

// Matrices of one FFN over plain rows.
struct FfnWeights {
  const WeightView &gate, &up, &down;
};
struct FfnGradients {
  TensorView gate, up, down;
};
struct FfnAdapters {
  AdapterPlace gate, up, down;
};

// One FFN's backward in three pieces, for what may be done between them. h: [T, D] input, dy: [T,
// D] gradient of the output.
struct FfnBackward {
  const LayerContext& c;
  const LayerBackwardOptions& options;
  FfnWeights w;
  FfnGradients g;
  FfnAdapters adapters;
  const FfnActivations& a;
  ConstTensorView h, dy;
  LayerScratch& scratch;

  // Through the down product and the activation: gate and up become their gradients.
  void inner() const {
    Stream& stream = c.stream;
    TensorView dinner = scratch.dinner;
    dinner.shape = a.h.shape;
    weight_gradient(w.down, dy, a.h, g.down, stream);
    linear_input_gradient(w.down, dy, dinner, Write::kSet, stream);
    adapter_backward(c, options, adapters.down, {a.h, dy, dinner}, scratch);
    swiglu_backward(a.gate, a.up, swiglu_facts(c.facts.activation), dinner, a.gate, a.up, stream);
  }
  void weights() const {
    weight_gradient(w.gate, a.gate, h, g.gate, c.stream);
    weight_gradient(w.up, a.up, h, g.up, c.stream);
  }
  // dh: [T, D] set or added.
  void input(TensorView dh, Write write) const {
    linear_input_gradient(w.gate, a.gate, dh, write, c.stream);
    linear_input_gradient(w.up, a.up, dh, Write::kAdd, c.stream);
    adapter_backward(c, options, adapters.gate, {h, a.gate, dh}, scratch);
    adapter_backward(c, options, adapters.up, {h, a.up, dh}, scratch);
  }
};

void router_backward(const LayerContext& c, const LayerBackwardOptions& options,
                     const LayerWeights& w, MoeActivations& a, ConstTensorView h,
                     LayerScratch& scratch, TensorView dh, const LayerGradients& g) {
  const RouterFacts facts = router_facts(c.facts.experts);
  route_backward(facts, a.probabilities, a.experts, scratch.dweights, scratch.dlogits, c.stream);
  if (options.balance.coefficient != 0) {
    sequence_balance(facts, a.probabilities, a.experts, options.document_offsets, options.balance,
                     options.balance_loss, scratch.dlogits, c.stream);
  }
  weight_gradient(w.router, scratch.dlogits, h, g.router, c.stream);
  if (g.router_logit_bias) bias_gradient(scratch.dlogits, g.router_logit_bias, c.stream);
  linear_input_gradient(w.router, scratch.dlogits, dh, Write::kSet, c.stream);
}

// s.drows: [T*K, D] gradients of the layer's own experts' outputs, then of their rows.
void routed_backward(const LayerContext& c, const LayerBackwardOptions& options,
                     const LayerWeights& w, MoeActivations& a, ConstTensorView h, LayerScratch& s,
                     const LayerGradients& g) {
  const ExpertDispatch dispatch = a.dispatch();
  Stream& stream = c.stream;
  expert_weight_gradient(w.expert_down, dispatch.offsets, s.drows, a.ffn.h, g.expert_down, stream);
  if (g.expert_down_bias)
    grouped_bias_gradient(dispatch.offsets, s.drows, g.expert_down_bias, stream);
  grouped_linear_input_gradient(w.expert_down, dispatch.offsets, s.drows, s.dexpert, Write::kSet,
                                stream);
  adapter_backward(c, options, DURE_PLACE(expert_down), {a.ffn.h, s.drows, s.dexpert}, s,
                   dispatch.offsets);
  swiglu_backward(a.ffn.gate, a.ffn.up, swiglu_facts(c.facts.activation), s.dexpert, a.ffn.gate,
                  a.ffn.up, stream);  // gate and up become their gradients
  if (g.expert_gate_bias)
    grouped_bias_gradient(dispatch.offsets, a.ffn.gate, g.expert_gate_bias, stream);
  if (g.expert_up_bias) grouped_bias_gradient(dispatch.offsets, a.ffn.up, g.expert_up_bias, stream);
  gather_rows(h, dispatch.row_token, a.inputs, stream);
  expert_weight_gradient(w.expert_gate, dispatch.offsets, a.ffn.gate, a.inputs, g.expert_gate,
                         stream);
  expert_weight_gradient(w.expert_up, dispatch.offsets, a.ffn.up, a.inputs, g.expert_up, stream);
  grouped_linear_input_gradient(w.expert_gate, dispatch.offsets, a.ffn.gate, s.drows, Write::kSet,
                                stream);
  grouped_linear_input_gradient(w.expert_up, dispatch.offsets, a.ffn.up, s.drows, Write::kAdd,
                                stream);
  adapter_backward(c, options, DURE_PLACE(expert_gate), {a.inputs, a.ffn.gate, s.drows}, s,
                   dispatch.offsets);
  adapter_backward(c, options, DURE_PLACE(expert_up), {a.inputs, a.ffn.up, s.drows}, s,
                   dispatch.offsets);
}

// dh: set by the router, added to by the experts, then by the shared one: whoever has them.
void moe_backward(const LayerContext& c, const LayerBackwardOptions& options, const LayerWeights& w,
                  MoeActivations& a, ConstTensorView h, ConstTensorView dy, LayerScratch& s,
                  TensorView dh, const LayerGradients& g) {
  const ExpertDispatch dispatch = a.dispatch();
  s.fit(c.facts.experts);
  combine_experts_backward(dispatch, a.outputs, a.weights, dy, s.drows, s.dweights, c.stream);
  const FfnBackward shared{
      c,
      options,
      {w.shared_gate, w.shared_up, w.shared_down},
      {g.shared_gate, g.shared_up, g.shared_down},
      {DURE_PLACE(shared_gate), DURE_PLACE(shared_up), DURE_PLACE(shared_down)},
      a.shared,
      h,
      dy,
      s};
  const bool has_shared = static_cast<bool>(w.shared_gate);
  if (ExpertExchange* exchange = c.weights.experts) {
    const ExpertCall call = expert_call(c, w, ExpertCall::Way::kBackward, dispatch);
    exchange->send(call, s.drows);
    router_backward(c, options, w, a, h, s, dh, g);
    exchange->advance();
    if (has_shared) shared.inner();
    exchange->turn(call, s.drows);
    if (has_shared) shared.weights();
    exchange->receive(call);
  } else {
    router_backward(c, options, w, a, h, s, dh, g);
    routed_backward(c, options, w, a, h, s, g);
    if (has_shared) shared.inner();
    if (has_shared) shared.weights();
  }
  gather_experts_backward(dispatch, s.drows, dh, c.stream);
  if (has_shared) shared.input(dh, Write::kAdd);
}

// The gradient of the block's input [T, D], and whether it is set or added.
struct InputGradient {
  ConstTensorView input;
  TensorView dinput;
  Write write = Write::kSet;
};

// The gradient of a projection: through norm and rotation, or the rotation alone.
struct HeadGradient {
  ConstTensorView raw, inverse_rms, norm, dy;
  TensorView draw, dnorm;
};
void heads_backward(const LayerContext& c, const HeadGradient& h) {
  const RopeTable rope = c.weights.rope(c.facts.rope);
  if (h.norm) {
    head_norm_rope_backward(h.raw, h.norm, rope, c.positions, h.inverse_rms, h.dy, h.draw, h.dnorm,
                            c.stream);
  } else {
    head_rope_backward(h.dy, rope, c.positions, h.draw, c.stream);
  }
}

// Of the biases that there are and that are not frozen.
void attention_bias_gradients(const LayerScratch& s, ConstTensorView dout, const LayerGradients& g,
                              Stream& stream) {
  if (g.q_bias) bias_gradient(flat_rows(s.dq_raw), g.q_bias, stream);
  if (g.k_bias) bias_gradient(flat_rows(s.dk_raw), g.k_bias, stream);
  if (g.v_bias) bias_gradient(flat_rows(s.dv), g.v_bias, stream);
  if (g.o_bias) bias_gradient(dout, g.o_bias, stream);
}

// dout: [T, D] gradient of the output product's result.
void attention_block_backward(const LayerContext& c, const LayerBackwardOptions& options,
                              const LayerWeights& w, LayerActivations& a, LayerScratch& s,
                              ConstTensorView dout, const InputGradient& in,
                              const LayerGradients& g) {
  Stream& stream = c.stream;
  const AttentionShape shape = attention_shape(c.weights.config, c.facts);
  const AttentionForward forward{
      .q = a.q, .k = a.k, .v = a.v, .out = a.attended, .log_sum_exp = a.log_sum_exp};
  weight_gradient(w.o, dout, flat_rows(a.attended), g.o, stream);
  linear_input_gradient(w.o, dout, flat_rows(s.dattended), Write::kSet, stream);
  adapter_backward(c, options, DURE_PLACE(o), {flat_rows(a.attended), dout, flat_rows(s.dattended)},
                   s);
  attention_backward(shape, c.kv.segments(c.index), forward, s.dattended, s.dq, s.dk, s.dv, stream);
  if (g.sinks) attention_sink_gradient(shape, w.sinks, forward, s.dattended, g.sinks, stream);
  heads_backward(c, {a.q_raw, a.q_inverse_rms, w.q_norm, s.dq, s.dq_raw, g.q_norm});
  heads_backward(c, {a.k_raw, a.k_inverse_rms, w.k_norm, s.dk, s.dk_raw, g.k_norm});
  attention_bias_gradients(s, dout, g, stream);
  weight_gradient(w.q, flat_rows(s.dq_raw), in.input, g.q, stream);
  weight_gradient(w.k, flat_rows(s.dk_raw), in.input, g.k, stream);
  weight_gradient(w.v, flat_rows(s.dv), in.input, g.v, stream);
  linear_input_gradient(w.q, flat_rows(s.dq_raw), in.dinput, in.write, stream);
  linear_input_gradient(w.k, flat_rows(s.dk_raw), in.dinput, Write::kAdd, stream);
  linear_input_gradient(w.v, flat_rows(s.dv), in.dinput, Write::kAdd, stream);
  adapter_backward(c, options, DURE_PLACE(q), {in.input, flat_rows(s.dq_raw), in.dinput}, s);
  adapter_backward(c, options, DURE_PLACE(k), {in.input, flat_rows(s.dk_raw), in.dinput}, s);
  adapter_backward(c, options, DURE_PLACE(v), {in.input, flat_rows(s.dv), in.dinput}, s);
}

// h: [T, D] the block's input, dy: [T, D] gradient of its output; dh: [T, D] set, not dy.
void ffn_block_backward(const LayerContext& c, const LayerBackwardOptions& options,
                        const LayerWeights& w, LayerActivations& a, ConstTensorView h,
                        ConstTensorView dy, LayerScratch& s, TensorView dh,
                        const LayerGradients& g) {
  if (c.facts.sparse) return moe_backward(c, options, w, a.moe, h, dy, s, dh, g);
  const FfnBackward dense{c,
                          options,
                          {w.gate, w.up, w.down},
                          {g.gate, g.up, g.down},
                          {DURE_PLACE(gate), DURE_PLACE(up), DURE_PLACE(down)},
                          a.dense,
                          h,
                          dy,
                          s};
  dense.inner();
  dense.weights();
  dense.input(dh, Write::kSet);
}

void pre_norm_backward(const LayerContext& c, const LayerBackwardOptions& options,
                       const LayerWeights& w, LayerActivations& a, LayerScratch& s, TensorView dx,
                       const LayerGradients& g) {
  ffn_block_backward(c, options, w, a, a.ffn_normed, dx, s, s.dnormed, g);
  rms_norm_backward(a.x_mid, w.ffn_norm, a.mid_inverse_rms, s.dnormed, dx, Write::kAdd, g.ffn_norm,
                    c.stream);
  attention_block_backward(c, options, w, a, s, dx, {a.attention_normed, s.dnormed, Write::kSet},
                           g);
  rms_norm_backward(a.x, w.attention_norm, a.x_inverse_rms, s.dnormed, dx, Write::kAdd,
                    g.attention_norm, c.stream);
}

void post_norm_backward(const LayerContext& c, const LayerBackwardOptions& options,
                        const LayerWeights& w, LayerActivations& a, LayerScratch& s, TensorView dx,
                        const LayerGradients& g) {
  rms_norm_backward(a.ffn_output, w.ffn_norm, a.mid_inverse_rms, dx, s.dnormed, Write::kSet,
                    g.ffn_norm, c.stream);
  ffn_block_backward(c, options, w, a, a.x_mid, s.dnormed, s, s.dffn_input, g);
  add_to(s.dffn_input, dx, c.stream);
  rms_norm_backward(a.attention_output, w.attention_norm, a.x_inverse_rms, dx, s.dnormed,
                    Write::kSet, g.attention_norm, c.stream);
  attention_block_backward(c, options, w, a, s, s.dnormed, {a.x, dx, Write::kAdd}, g);
}

}  // namespace

void layer_backward(const LayerContext& c, const LayerBackwardOptions& options,
                    const LayerWeights& w, LayerActivations& a, LayerScratch& s, TensorView dx,
                    const LayerGradients& g) {
  if (c.facts.norm_order == NormOrder::kPre) {
    pre_norm_backward(c, options, w, a, s, dx, g);
  } else {
    post_norm_backward(c, options, w, a, s, dx, g);
  }
}

LayerScratch::LayerScratch(const ModelConfig& config, const TrainPassOptions& options, Arena& arena)
    : rows_max_(options.rows_max), row_count_(options.rows_max) {
  const int64_t t = options.rows_max, q = config.head_count, g = config.kv_head_count,
                h = config.head_width;
  FfnSizes sizes;
  bool post_norm = false;
  for (int64_t i = 0; i < config.layer_count() + config.mtp_layer_count; ++i) {
    sizes.add(config.layer(i));
    post_norm |= config.layer(i).norm_order == NormOrder::kPost;
  }
  dnormed = arena.take_f32({t, config.hidden_size});
  if (post_norm) dffn_input = arena.take_f32({t, config.hidden_size});
  for (TensorView* view : {&dattended, &dq, &dq_raw}) *view = arena.take_f32({t, q, h});
  for (TensorView* view : {&dk, &dv, &dk_raw}) *view = arena.take_f32({t, g, h});
  dinner = arena.take_f32({t, std::max(sizes.dense_width, sizes.shared_width)});
  if (options.adapter_rank > 0)
    dadapter =
        arena.take_f32({t * std::max<int64_t>(1, sizes.experts_per_token), options.adapter_rank});
  if (sizes.experts == 0) return;
  drows = arena.take_f32({t * sizes.experts_per_token, config.hidden_size});
  if (!options.experts_elsewhere)
    dexpert = arena.take_f32({t * sizes.experts_per_token, sizes.expert_width});
  dweights = arena.take_f32({t, sizes.experts_per_token});
  dlogits = arena.take_f32({t, sizes.experts});
}

void LayerScratch::set_rows(int64_t row_count) {
  DURE_CHECK(row_count >= 1 && row_count <= rows_max_, "{} rows where {} were planned", row_count,
             rows_max_);
  row_count_ = row_count;
  const auto resize = [](TensorView& view, int64_t rows) {
    if (view.shape.rank() == 2) view.shape = Shape{rows, view.dim(1)};
    if (view.shape.rank() == 3) view.shape = Shape{rows, view.dim(1), view.dim(2)};
  };
  for (TensorView* view :
       {&dnormed, &dffn_input, &dattended, &dq, &dq_raw, &dk, &dv, &dk_raw, &dinner}) {
    resize(*view, row_count);
  }
}

void LayerScratch::fit(const ExpertFacts& experts) {
  const int64_t pairs = row_count_ * experts.per_token;
  drows.shape = {pairs, drows.shape.back()};
  dexpert.shape = {pairs, experts.width};
  dweights.shape = {row_count_, experts.per_token};
  dlogits.shape = {row_count_, experts.count};
}

}  // namespace dure
