// model/tensors.h: the tensors of a model as the passes read them: fields of structs, bound by
// role.
//
// ModelOf<WeightView, ConstTensorView> is what the forward reads (weights.h), ModelOf<TensorView,
// TensorView> what the backward adds to (parameters.h). Which tensors there are, their names and
// shapes: formats/tensor_names.h. Experts of a layer are one stack.
//
// Symbols here and in the rest of model/: T rows, D hidden width, Q query heads, G key/value heads,
// H head width, W window, F dense width, E experts, K experts a token, I expert width, S shared
// expert's width, V vocabulary, L layers.
#pragma once

#include <vector>

#include "formats/tensor_names.h"
#include "kernels/weight.h"

namespace dure {

// One decoder layer. Either the dense fields or the sparse ones are set (LayerFacts::sparse).
template <typename Matrix, typename Vector>
struct LayerOf {
  Vector attention_norm;                  // [D] before attention, or on its output
  Matrix q, k, v, o;                      // [Q*H, D], [G*H, D], [G*H, D], [D, Q*H]
  Vector q_bias, k_bias, v_bias, o_bias;  // [Q*H], [G*H], [G*H], [D]; unset where there are none
  Vector q_norm, k_norm;                  // [H]; unset where heads are not normed
  Vector sinks;                           // [Q]; unset where there are none
  Vector ffn_norm;                        // [D] before the FFN, or on its output
  Matrix gate, up, down;                  // dense: [F, D], [F, D], [D, F]
  Matrix router;                          // [E, D]
  Vector router_logit_bias;               // [E], added to the logits; unset where there is none
  Vector router_bias;                     // [E], for the choice; unset where there is none
  Matrix expert_gate, expert_up, expert_down;                 // [E, I, D], [E, I, D], [E, D, I]
  Vector expert_gate_bias, expert_up_bias, expert_down_bias;  // [E, I], [E, I], [E, D]; or unset
  Matrix shared_gate, shared_up, shared_down;  // [S, D], [S, D], [D, S]; unset where S = 0
};

template <typename Matrix, typename Vector>
struct MtpOf {
  Matrix fc;                           // [D, 2D]: columns 0..D-1 read the embedding
  Vector embedding_norm, hidden_norm;  // [D]
  LayerOf<Matrix, Vector> layer;
  Vector norm;  // [D]
};

template <typename Matrix, typename Vector>
struct ModelOf {
  Matrix embedding;                             // [V, D]
  std::vector<LayerOf<Matrix, Vector>> layers;  // L
  Vector norm;                                  // [D]
  Matrix head;                                  // [V, D]; the embedding itself where they are tied
  MtpOf<Matrix, Vector> mtp;                    // set where mtp_layer_count is 1
};

using LayerWeights = LayerOf<WeightView, ConstTensorView>;
using MtpWeights = MtpOf<WeightView, ConstTensorView>;
using LayerGradients = LayerOf<TensorView, TensorView>;
using ModelGradients = ModelOf<TensorView, TensorView>;

// The stacks that `config` implies.
std::vector<ImpliedTensor> tensor_list(const ModelConfig& config);

// Whether activations are multiplied with it and it may be rounded for that: every matrix but the
// router's; of the tables of tokens the one that gives logits.
bool is_multiplied(const ImpliedTensor& tensor, const ModelConfig& config);

namespace tensors_detail {

// Calls use(field) with the field that holds a layer's tensor of this role.
template <typename Matrix, typename Vector, typename Use>
void use_layer_field(LayerOf<Matrix, Vector>& layer, TensorRole role, Use&& use) {
  switch (role) {
    case TensorRole::kAttentionNorm:
    case TensorRole::kAttentionOutputNorm:
      return use(layer.attention_norm);
    case TensorRole::kQ:
      return use(layer.q);
    case TensorRole::kK:
      return use(layer.k);
    case TensorRole::kV:
      return use(layer.v);
    case TensorRole::kO:
      return use(layer.o);
    case TensorRole::kQBias:
      return use(layer.q_bias);
    case TensorRole::kKBias:
      return use(layer.k_bias);
    case TensorRole::kVBias:
      return use(layer.v_bias);
    case TensorRole::kOBias:
      return use(layer.o_bias);
    case TensorRole::kSinks:
      return use(layer.sinks);
    case TensorRole::kQNorm:
      return use(layer.q_norm);
    case TensorRole::kKNorm:
      return use(layer.k_norm);
    case TensorRole::kFfnNorm:
    case TensorRole::kFfnOutputNorm:
      return use(layer.ffn_norm);
    case TensorRole::kGate:
      return use(layer.gate);
    case TensorRole::kUp:
      return use(layer.up);
    case TensorRole::kDown:
      return use(layer.down);
    case TensorRole::kRouter:
      return use(layer.router);
    case TensorRole::kRouterLogitBias:
      return use(layer.router_logit_bias);
    case TensorRole::kRouterBias:
      return use(layer.router_bias);
    case TensorRole::kExpertGate:
      return use(layer.expert_gate);
    case TensorRole::kExpertUp:
      return use(layer.expert_up);
    case TensorRole::kExpertDown:
      return use(layer.expert_down);
    case TensorRole::kExpertGateBias:
      return use(layer.expert_gate_bias);
    case TensorRole::kExpertUpBias:
      return use(layer.expert_up_bias);
    case TensorRole::kExpertDownBias:
      return use(layer.expert_down_bias);
    case TensorRole::kSharedGate:
      return use(layer.shared_gate);
    case TensorRole::kSharedUp:
      return use(layer.shared_up);
    case TensorRole::kSharedDown:
      return use(layer.shared_down);
    default:
      DURE_CHECK(false, "no field for {}", role_name(role));
  }
}

template <typename Matrix, typename Vector, typename Use>
void use_field(ModelOf<Matrix, Vector>& model, TensorId id, Use&& use) {
  switch (id.role) {
    case TensorRole::kEmbedding:
      return use(model.embedding);
    case TensorRole::kFinalNorm:
      return use(model.norm);
    case TensorRole::kHead:
      return use(model.head);
    case TensorRole::kMtpFc:
      return use(model.mtp.fc);
    case TensorRole::kMtpEmbeddingNorm:
      return use(model.mtp.embedding_norm);
    case TensorRole::kMtpHiddenNorm:
      return use(model.mtp.hidden_norm);
    case TensorRole::kMtpNorm:
      return use(model.mtp.norm);
    default: {
      const auto i = static_cast<size_t>(id.layer);
      return use_layer_field(i < model.layers.size() ? model.layers[i] : model.mtp.layer, id.role,
                             use);
    }
  }
}

}  // namespace tensors_detail

// Calls bind(tensor, field) for every tensor of tensor_list(), in its order. `field` is a Matrix&
// or a Vector&.
template <typename Matrix, typename Vector, typename Bind>
void visit_tensors(const ModelConfig& config, ModelOf<Matrix, Vector>& model, Bind&& bind) {
  model.layers.resize(config.layers.size());
  for (const ImpliedTensor& tensor : tensor_list(config)) {
    tensors_detail::use_field(model, tensor.id, [&](auto& field) { bind(tensor, field); });
  }
  if (config.tied_embeddings) model.head = model.embedding;
}

}  // namespace dure
