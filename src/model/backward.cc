#include <algorithm>

#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/router.h"
#include "model/layer.h"

namespace dure {
namespace {

// Matrices of one FFN over plain rows.
struct FfnWeights {
  const WeightView &gate, &up, &down;
};
struct FfnGradients {
  TensorView gate, up, down;
};

// h: [T, D] input, dy: [T, D] gradient of the output; dh: [T, D] set or added.
void ffn_backward(const FfnWeights& w, const FfnGradients& g, double limit, const FfnActivations& a,
                  TensorView h, TensorView dy, LayerScratch& scratch, TensorView dh, Write write,
                  Stream& stream) {
  const TensorView dinner = host_view(scratch.dinner.f32(), a.h.shape);
  linear_weight_gradient(dy, a.h, g.down, stream);
  linear_input_gradient(w.down, dy, dinner, Write::kSet, stream);
  swiglu_backward(a.gate, a.up, limit, dinner, a.gate, a.up,
                  stream);  // gate and up become their gradients
  linear_weight_gradient(a.gate, h, g.gate, stream);
  linear_weight_gradient(a.up, h, g.up, stream);
  linear_input_gradient(w.gate, a.gate, dh, write, stream);
  linear_input_gradient(w.up, a.up, dh, Write::kAdd, stream);
}

double router_backward(const LayerContext& c, const LayerBackwardOptions& options,
                       const LayerOf<WeightView>& w, MoeActivations& a, TensorView h,
                       LayerScratch& scratch, TensorView dh, const LayerOf<TensorView>& g) {
  const RouterFacts facts = router_facts(c.weights.config);
  double balance = 0;
  route_backward(facts, a.probabilities, a.expert_span(), scratch.dweights, scratch.dlogits,
                 c.stream);
  if (options.balance_coefficient != 0) {
    balance = sequence_balance(facts, a.probabilities, a.expert_span(), options.document_lengths,
                               options.balance_coefficient, options.balance_scale, scratch.dlogits,
                               c.stream);
  }
  if (options.train_router) linear_weight_gradient(scratch.dlogits, h, g.router, c.stream);
  linear_input_gradient(w.router, scratch.dlogits, dh, Write::kSet, c.stream);
  return balance;
}

double moe_backward(const LayerContext& c, const LayerBackwardOptions& options,
                    const LayerOf<WeightView>& w, MoeActivations& a, TensorView h, TensorView dy,
                    LayerScratch& s, TensorView dh, const LayerOf<TensorView>& g) {
  const ExpertPlan plan = a.plan();
  const double limit = c.facts.swiglu_limit;
  Stream& stream = c.stream;
  combine_experts_backward(plan, a.outputs, a.weights, dy, s.drows, s.dweights, stream);
  const double balance = router_backward(c, options, w, a, h, s, dh, g);
  grouped_linear_weight_gradient(plan.offsets, s.drows, a.ffn.h, g.expert_down, stream);
  grouped_linear_input_gradient(w.expert_down, plan.offsets, s.drows, s.dexpert, Write::kSet,
                                stream);
  swiglu_backward(a.ffn.gate, a.ffn.up, limit, s.dexpert, a.ffn.gate, a.ffn.up,
                  stream);  // as in ffn_backward
  gather_rows(h, plan.row_token, a.inputs, stream);
  grouped_linear_weight_gradient(plan.offsets, a.ffn.gate, a.inputs, g.expert_gate, stream);
  grouped_linear_weight_gradient(plan.offsets, a.ffn.up, a.inputs, g.expert_up, stream);
  grouped_linear_input_gradient(w.expert_gate, plan.offsets, a.ffn.gate, s.drows, Write::kSet,
                                stream);
  grouped_linear_input_gradient(w.expert_up, plan.offsets, a.ffn.up, s.drows, Write::kAdd, stream);
  gather_rows_backward(plan, s.drows, dh, stream);
  if (w.shared_gate.data) {
    ffn_backward({w.shared_gate, w.shared_up, w.shared_down},
                 {g.shared_gate, g.shared_up, g.shared_down}, limit, a.shared, h, dy, s, dh,
                 Write::kAdd, stream);
  }
  return balance;
}

// The gradient of the block's input [T, D], and whether it is set or added.
struct InputGradient {
  TensorView input, dinput;
  Write write = Write::kSet;
};

// dout: [T, D] gradient of the output product's result.
void attention_block_backward(const LayerContext& c, const LayerOf<WeightView>& w,
                              LayerActivations& a, LayerScratch& s, TensorView dout,
                              const InputGradient& in, const LayerOf<TensorView>& g) {
  Stream& stream = c.stream;
  const RopeTable rope = c.weights.rope(c.facts);
  linear_weight_gradient(dout, flat_rows(a.attended), g.o, stream);
  linear_input_gradient(w.o, dout, flat_rows(s.dattended), Write::kSet, stream);
  attention_backward(attention_shape(c.weights.config, c.facts), c.kv.segments(c.index), a.q, a.k,
                     a.v, a.attended, a.log_sum_exp, s.dattended, s.dq, s.dk, s.dv, stream);
  head_norm_rope_backward(a.q_raw, w.q_norm, rope, c.positions, a.q_inverse_rms, s.dq, s.dq_raw,
                          g.q_norm, stream);
  head_norm_rope_backward(a.k_raw, w.k_norm, rope, c.positions, a.k_inverse_rms, s.dk, s.dk_raw,
                          g.k_norm, stream);
  linear_weight_gradient(flat_rows(s.dq_raw), in.input, g.q, stream);
  linear_weight_gradient(flat_rows(s.dk_raw), in.input, g.k, stream);
  linear_weight_gradient(flat_rows(s.dv), in.input, g.v, stream);
  linear_input_gradient(w.q, flat_rows(s.dq_raw), in.dinput, in.write, stream);
  linear_input_gradient(w.k, flat_rows(s.dk_raw), in.dinput, Write::kAdd, stream);
  linear_input_gradient(w.v, flat_rows(s.dv), in.dinput, Write::kAdd, stream);
}

// h: [T, D] the block's input, dy: [T, D] gradient of its output; dh: [T, D] set, not dy.
double ffn_block_backward(const LayerContext& c, const LayerBackwardOptions& options,
                          const LayerOf<WeightView>& w, LayerActivations& a, TensorView h,
                          TensorView dy, LayerScratch& s, TensorView dh,
                          const LayerOf<TensorView>& g) {
  if (c.facts.sparse) return moe_backward(c, options, w, a.moe, h, dy, s, dh, g);
  ffn_backward({w.gate, w.up, w.down}, {g.gate, g.up, g.down}, c.facts.swiglu_limit, a.dense, h, dy,
               s, dh, Write::kSet, c.stream);
  return 0;
}

double pre_norm_backward(const LayerContext& c, const LayerBackwardOptions& options,
                         const LayerOf<WeightView>& w, LayerActivations& a, LayerScratch& s,
                         TensorView dx, const LayerOf<TensorView>& g) {
  const double balance = ffn_block_backward(c, options, w, a, a.h_mid, dx, s, s.dh, g);
  rms_norm_backward(a.x_mid, w.ffn_norm, a.mid_inverse_rms, s.dh, dx, Write::kAdd, g.ffn_norm,
                    c.stream);
  attention_block_backward(c, w, a, s, dx, {a.h, s.dh, Write::kSet}, g);
  rms_norm_backward(a.x, w.attention_norm, a.x_inverse_rms, s.dh, dx, Write::kAdd, g.attention_norm,
                    c.stream);
  return balance;
}

// h_mid is not needed after its norm: it takes the gradient of the FFN's input.
double post_norm_backward(const LayerContext& c, const LayerBackwardOptions& options,
                          const LayerOf<WeightView>& w, LayerActivations& a, LayerScratch& s,
                          TensorView dx, const LayerOf<TensorView>& g) {
  rms_norm_backward(a.h_mid, w.ffn_norm, a.mid_inverse_rms, dx, s.dh, Write::kSet, g.ffn_norm,
                    c.stream);
  const double balance = ffn_block_backward(c, options, w, a, a.x_mid, s.dh, s, a.h_mid, g);
  add_to(a.h_mid, dx, c.stream);
  rms_norm_backward(a.h, w.attention_norm, a.x_inverse_rms, dx, s.dh, Write::kSet, g.attention_norm,
                    c.stream);
  attention_block_backward(c, w, a, s, s.dh, {a.x, dx, Write::kAdd}, g);
  return balance;
}

}  // namespace

double layer_backward(const LayerContext& c, const LayerBackwardOptions& options,
                      const LayerOf<WeightView>& w, LayerActivations& a, LayerScratch& s,
                      TensorView dx, const LayerOf<TensorView>& g) {
  return c.facts.norm_order == NormOrder::kPre ? pre_norm_backward(c, options, w, a, s, dx, g)
                                               : post_norm_backward(c, options, w, a, s, dx, g);
}

LayerScratch::LayerScratch(const ModelConfig& config, int64_t rows_max, Arena& arena)
    : rows_max_(rows_max), experts_per_token_(config.experts_per_token) {
  const int64_t t = rows_max, q = config.head_count, g = config.kv_head_count,
                h = config.head_width;
  const int64_t pairs = t * config.experts_per_token;
  dh = arena.take_f32({t, config.hidden_size});
  for (TensorView* view : {&dattended, &dq, &dq_raw}) *view = arena.take_f32({t, q, h});
  for (TensorView* view : {&dk, &dv, &dk_raw}) *view = arena.take_f32({t, g, h});
  const int64_t width = std::max(config.dense_width, config.shared_width());
  dinner = arena.take_f32({t, width});
  const bool sparse = std::any_of(config.layers.begin(), config.layers.end(),
                                  [](const LayerFacts& l) { return l.sparse; });
  if (!sparse) return;
  drows = arena.take_f32({pairs, config.hidden_size});
  dexpert = arena.take_f32({pairs, config.expert_width});
  dweights = arena.take_f32({t, config.experts_per_token}),
  dlogits = arena.take_f32({t, config.expert_count});
}

void LayerScratch::set_rows(int64_t row_count) {
  DURE_CHECK(row_count >= 1 && row_count <= rows_max_, "{} rows where {} were planned", row_count,
             rows_max_);
  const auto resize = [](TensorView& view, int64_t rows) {
    if (view.shape.rank() == 2) view.shape = Shape{rows, view.dim(1)};
    if (view.shape.rank() == 3) view.shape = Shape{rows, view.dim(1), view.dim(2)};
  };
  for (TensorView* view :
       {&dh, &dattended, &dq, &dq_raw, &dk, &dv, &dk_raw, &dinner, &dweights, &dlogits}) {
    resize(*view, row_count);
  }
  for (TensorView* view : {&drows, &dexpert}) resize(*view, row_count * experts_per_token_);
}

}  // namespace dure
