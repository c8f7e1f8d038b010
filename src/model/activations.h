// model/activations.h: every intermediate of a forward pass as views into one planned arena.
//
// Inference shares one set between the layers. Training keeps a set per layer for the backward;
// with recomputation it keeps only the layers' inputs and their routing and makes the rest again,
// layer by layer, in the backward (the same kernels: the same bits). A set that layers share is as
// wide as the widest; each layer's views have that layer's own shapes. Plan: construct with a null
// arena (Arena()) and read used_bytes(); construct again with a real one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "formats/model_config.h"
#include "kernels/router.h"
#include "model/holding.h"
#include "tensor/buffer.h"

namespace dure {

// y = down(silu(gate) * up) over R rows of width N.
struct FfnActivations {
  TensorView gate, up, h;  // [R, N]
};

struct MoeActivations {
  TensorView logits;         // [T, E]; scratch
  TensorView probabilities;  // [T, E]
  TensorView experts;        // [T*K] i32
  TensorView weights;        // [T, K]
  TensorView offsets;        // [E+1] i64
  TensorView row_token;      // [T*K] i32
  TensorView row_of_slot;    // [T*K] i32
  TensorView inputs;         // [T*K, D] rows by expert; scratch, gathered again by the backward
  FfnActivations ffn;        // [T*K, I]; not where experts lie elsewhere
  TensorView outputs;        // [T*K, D]
  FfnActivations shared;     // [T, S]
  TensorView shared_output;  // [T, D]; scratch

  ExpertDispatch dispatch() const { return {offsets, row_token, row_of_slot}; }
};

struct LayerActivations {
  TensorView x;                 // [T, D] input
  TensorView attention_normed;  // [T, D] pre-norm: norm(x), what attention reads
  TensorView attention_output;  // [T, D] post-norm: what attention gave, before its norm
  TensorView q_raw, k_raw;      // [T, Q, H], [T, G, H] projections
  TensorView q, k, v;           // [T, Q, H], [T, G, H], [T, G, H]; q and k normed and rotated
  TensorView attended;          // [T, Q, H]
  TensorView x_mid;             // [T, D] after attention
  TensorView ffn_normed;        // [T, D] pre-norm: norm(x_mid), what the FFN reads
  TensorView ffn_output;        // [T, D] post-norm: what the FFN gave, before its norm
  FfnActivations dense;         // [T, F]
  MoeActivations moe;
  // Only where a backward follows:
  TensorView x_inverse_rms, mid_inverse_rms;  // [T]
  TensorView q_inverse_rms, k_inverse_rms;    // [T, Q], [T, G]
  TensorView log_sum_exp;                     // [T, Q]
};

// What a layer's attention and its FFN read.
inline ConstTensorView attention_input(const LayerFacts& facts, const LayerActivations& a) {
  return facts.norm_order == NormOrder::kPre ? a.attention_normed : a.x;
}
inline ConstTensorView ffn_input(const LayerFacts& facts, const LayerActivations& a) {
  return facts.norm_order == NormOrder::kPre ? a.ffn_normed : a.x_mid;
}

struct MtpActivations {
  TensorView embedded;                        // [T, D] Emb[next token]
  TensorView embedded_normed, hidden_normed;  // [T, D]; scratch
  TensorView joined;                          // [T, 2D]
  LayerActivations layer;                     // its x is fc(joined)
  TensorView x;                               // [T, D] output of the layer
  TensorView y;                               // [T, D] normed: what the head reads
  TensorView embedding_inverse_rms, hidden_inverse_rms, inverse_rms;  // [T]; training only
};

// The widest of every size that layers of a set have; 0 for what none of them has.
struct FfnSizes {
  int64_t dense_width = 0, shared_width = 0;                     // F, S
  int64_t experts = 0, experts_per_token = 0, expert_width = 0;  // E, K, I
  void add(const LayerFacts& facts);
};

enum class KeepActivations : uint8_t {
  kNothing,      // inference
  kEverything,   // training
  kLayerInputs,  // training with recomputation; router probabilities and choices are kept too, for
                 // losses and counts
};

struct ActivationOptions {
  int64_t rows_max = 0;  // T never exceeds this
  KeepActivations keep = KeepActivations::kNothing;
  bool mtp = false;          // room for the MTP layer as well
  bool observed = false;     // a layer's input outlives the layer, for a LayerObserver
  int64_t adapter_rank = 0;  // the largest of any adapter that rows will go through; 0: none
  // No room for what routed experts compute (ModelWeights::experts).
  bool experts_elsewhere = false;
  Holding holding = {};  // layers that have a set, and whether there are the ends
};

class Activations {
 public:
  // `beside`: others of the same options whose rows are worked on in turn with these: what nobody
  // keeps from a forward to its backward is one for both.
  Activations(const ModelConfig& config, const ActivationOptions& options, Arena& arena,
              const Activations* beside = nullptr);

  void set_rows(int64_t row_count);  // T of the next pass. Checked: 1 <= T <= rows_max.
  int64_t row_count() const { return row_count_; }
  const ActivationOptions& options() const { return options_; }

  LayerActivations& layer(int64_t i) { return layers_[static_cast<size_t>(i)]; }
  MtpActivations& mtp() { return mtp_; }
  TensorView& x_last() { return x_last_; }            // [T, D] output of the last layer here
  TensorView& hidden() { return hidden_; }            // [T, D] after the final norm
  TensorView& inverse_rms() { return inverse_rms_; }  // [T] of the final norm; training only
  // [T*max(K, 1), adapter_rank], of the planned T: A x of one product after another; scratch.
  TensorView adapter_inner() const { return adapter_inner_; }
  // [E+1] i64 and [T*K] i32, of the planned T: an adapter's share of the experts' rows; scratch.
  TensorView adapter_offsets() const { return adapter_offsets_; }
  TensorView adapter_rows() const { return adapter_rows_; }
  // The layers that have a set.
  int64_t layer_begin() const { return options_.holding.layer_begin; }
  int64_t layer_end() const { return std::min(options_.holding.layer_end, layer_count()); }
  // Where layer i leaves its result.
  TensorView output_of(int64_t i) { return i + 1 < layer_end() ? layer(i + 1).x : x_last_; }
  int64_t layer_count() const { return static_cast<int64_t>(layers_.size()); }

 private:
  void take_shared(const ModelConfig& config, Arena& arena);
  void take_layers(const ModelConfig& config, Arena& arena);
  void take_mtp(const ModelConfig& config, Arena& arena);

  ActivationOptions options_;
  int64_t row_count_ = 0;
  MoeActivations scratch_;   // pieces that nobody reads after a layer
  LayerActivations shared_;  // one set for all layers, unless each keeps its own
  std::vector<LayerActivations> layers_;
  MtpActivations mtp_;
  TensorView x_last_, hidden_, inverse_rms_, adapter_inner_, adapter_offsets_, adapter_rows_;
};

}  // namespace dure
