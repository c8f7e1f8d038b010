// model/tensors.h: every tensor of a model, listed once: its name, shape, kind and place in the
// structs the passes read.
//
// ModelOf<WeightView> is what the forward reads (weights.h), ModelOf<TensorView> what the backward
// adds to (parameters.h). Names are Hugging Face's, with the experts of a layer as one stack:
// `model.layers.3.mlp.experts.gate_proj.weight` [E, I, D] (formats/ splits and merges the
// per-expert names). visit_tensors() is the only place that knows them.
//
// Symbols here and in the rest of model/: T rows, D hidden width, Q query heads, G key/value heads,
// H head width, W window, F dense width, E experts, K experts a token, I expert width, S shared
// expert's width, V vocabulary, L layers.
#pragma once

#include <string>
#include <vector>

#include "formats/model_config.h"
#include "kernels/weight.h"

namespace dure {

enum class ParameterKind : uint8_t {
  kEmbedding,   // [V, D]
  kHead,        // [V, D]
  kMatrix,      // [N, K]
  kExperts,     // [E, N, K]
  kRouter,      // [E, D]
  kNorm,        // [C]
  kRouterBias,  // [E]: moved by its own rule, never by a gradient
};

struct TensorFacts {
  std::string name;
  Shape shape;
  ParameterKind kind = ParameterKind::kMatrix;
  int64_t layer = -1;  // 0 .. L-1; L: the MTP layer; -1: outside the layers
  bool trainable() const { return kind != ParameterKind::kRouterBias; }
};

// One decoder layer. Either the dense fields or the sparse ones are set (LayerFacts::sparse).
template <typename Matrix>
struct LayerOf {
  TensorView input_norm;                       // [D]
  Matrix q, k, v, o;                           // [Q*H, D], [G*H, D], [G*H, D], [D, Q*H]
  TensorView q_norm, k_norm;                   // [H]
  TensorView post_norm;                        // [D]
  Matrix gate, up, down;                       // dense: [F, D], [F, D], [D, F]
  Matrix router;                               // [E, D]
  TensorView router_bias;                      // [E]
  Matrix expert_gate, expert_up, expert_down;  // [E, I, D], [E, I, D], [E, D, I]
  Matrix shared_gate, shared_up, shared_down;  // [S, D], [S, D], [D, S]; unset where S = 0
};

template <typename Matrix>
struct MtpOf {
  Matrix fc;                               // [D, 2D]: columns 0..D-1 read the embedding
  TensorView embedding_norm, hidden_norm;  // [D]
  LayerOf<Matrix> layer;
  TensorView norm;  // [D]
};

template <typename Matrix>
struct ModelOf {
  Matrix embedding;                     // [V, D]
  std::vector<LayerOf<Matrix>> layers;  // L
  TensorView norm;                      // [D]
  Matrix head;                          // [V, D]; the embedding itself where they are tied
  MtpOf<Matrix> mtp;                    // set where mtp_layer_count is 1
};

// In the order of the file: embedding, layers, final norm, head (unless tied), MTP. Throws
// kUnsupported for post-norm models.
std::vector<TensorFacts> tensor_list(const ModelConfig& config);

namespace tensors_detail {

template <typename Matrix, typename Bind>
void visit_layer(bool sparse, bool shared, LayerOf<Matrix>& layer, Bind&& bind) {
  bind(layer.input_norm);
  bind(layer.q), bind(layer.k), bind(layer.v), bind(layer.o);
  bind(layer.q_norm), bind(layer.k_norm);
  bind(layer.post_norm);
  if (!sparse) {
    bind(layer.gate), bind(layer.up), bind(layer.down);
    return;
  }
  bind(layer.router), bind(layer.router_bias);
  bind(layer.expert_gate), bind(layer.expert_up), bind(layer.expert_down);
  if (shared) bind(layer.shared_gate), bind(layer.shared_up), bind(layer.shared_down);
}

}  // namespace tensors_detail

// Calls bind(facts, field) for every tensor of tensor_list(), in its order. `field` is a Matrix& or
// a TensorView&.
template <typename Matrix, typename Bind>
void visit_tensors(const ModelConfig& config, ModelOf<Matrix>& model, Bind&& bind) {
  const std::vector<TensorFacts> list = tensor_list(config);
  size_t next = 0;
  const auto one = [&](auto& field) { bind(list[next++], field); };
  const bool shared = config.shared_expert_count > 0;
  model.layers.resize(config.layers.size());
  one(model.embedding);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    tensors_detail::visit_layer(config.layers[i].sparse, shared, model.layers[i], one);
  }
  one(model.norm);
  if (config.tied_embeddings) {
    model.head = model.embedding;
  } else {
    one(model.head);
  }
  if (config.mtp_layer_count > 0) {
    one(model.mtp.fc), one(model.mtp.embedding_norm), one(model.mtp.hidden_norm);
    tensors_detail::visit_layer(false, false, model.mtp.layer, one);
    one(model.mtp.norm);
  }
  DURE_CHECK_EQ(next, list.size());
}

}  // namespace dure
