#include "formats/tensor_names.h"

#include <fmt/core.h>

#include "base/check.h"

namespace dure {
namespace {

std::string layer_prefix(int64_t layer, const ModelConfig& c) {
  return layer == c.layer_count() ? "mtp.layers.0." : fmt::format("model.layers.{}.", layer);
}

std::string global_name(TensorRole role) {
  switch (role) {
    case TensorRole::kEmbedding:
      return "model.embed_tokens.weight";
    case TensorRole::kHead:
      return "lm_head.weight";
    case TensorRole::kFinalNorm:
      return "model.norm.weight";
    case TensorRole::kMtpFc:
      return "mtp.fc.weight";
    case TensorRole::kMtpEmbeddingNorm:
      return "mtp.pre_fc_norm_embedding.weight";
    case TensorRole::kMtpHiddenNorm:
      return "mtp.pre_fc_norm_hidden.weight";
    case TensorRole::kMtpNorm:
      return "mtp.norm.weight";
    default:
      return "";
  }
}

const char* layer_name(TensorRole role, NormOrder order) {
  const bool post = order == NormOrder::kPost;
  switch (role) {
    case TensorRole::kAttentionNorm:
      return post ? "post_attention_layernorm.weight" : "input_layernorm.weight";
    case TensorRole::kFfnNorm:
      return post ? "post_feedforward_layernorm.weight" : "post_attention_layernorm.weight";
    case TensorRole::kQ:
      return "self_attn.q_proj.weight";
    case TensorRole::kK:
      return "self_attn.k_proj.weight";
    case TensorRole::kV:
      return "self_attn.v_proj.weight";
    case TensorRole::kO:
      return "self_attn.o_proj.weight";
    case TensorRole::kQNorm:
      return "self_attn.q_norm.weight";
    case TensorRole::kKNorm:
      return "self_attn.k_norm.weight";
    case TensorRole::kGate:
      return "mlp.gate_proj.weight";
    case TensorRole::kUp:
      return "mlp.up_proj.weight";
    case TensorRole::kDown:
      return "mlp.down_proj.weight";
    case TensorRole::kRouter:
      return "mlp.gate.weight";
    case TensorRole::kRouterBias:
      return "mlp.e_score_correction_bias";
    case TensorRole::kSharedGate:
      return "mlp.shared_experts.gate_proj.weight";
    case TensorRole::kSharedUp:
      return "mlp.shared_experts.up_proj.weight";
    case TensorRole::kSharedDown:
      return "mlp.shared_experts.down_proj.weight";
    default:
      return nullptr;
  }
}

const char* expert_part(TensorRole role) {
  return role == TensorRole::kExpertGate ? "gate_proj"
         : role == TensorRole::kExpertUp ? "up_proj"
                                         : "down_proj";
}

Shape single_shape(TensorRole role, const ModelConfig& c) {
  const int64_t d = c.hidden_size, f = c.dense_width, i = c.expert_width, s = c.shared_width(),
                e = c.expert_count;
  switch (role) {
    case TensorRole::kEmbedding:
    case TensorRole::kHead:
      return {c.vocab_size, d};
    case TensorRole::kQ:
      return {c.head_count * c.head_width, d};
    case TensorRole::kK:
    case TensorRole::kV:
      return {c.kv_head_count * c.head_width, d};
    case TensorRole::kO:
      return {d, c.head_count * c.head_width};
    case TensorRole::kQNorm:
    case TensorRole::kKNorm:
      return {c.head_width};
    case TensorRole::kGate:
    case TensorRole::kUp:
      return {f, d};
    case TensorRole::kDown:
      return {d, f};
    case TensorRole::kRouter:
      return {e, d};
    case TensorRole::kRouterBias:
      return {e};
    case TensorRole::kExpertGate:
    case TensorRole::kExpertUp:
      return {i, d};
    case TensorRole::kExpertDown:
      return {d, i};
    case TensorRole::kSharedGate:
    case TensorRole::kSharedUp:
      return {s, d};
    case TensorRole::kSharedDown:
      return {d, s};
    case TensorRole::kMtpFc:
      return {d, 2 * d};
    default:
      return {d};
  }
}

// Collects the list; `add` takes role, layer, expert.
struct Lister {
  const ModelConfig& config;
  std::vector<ImpliedTensor> out;
  void add(TensorRole role, int64_t layer = -1, int64_t expert = -1) {
    const TensorId id{role, layer, expert};
    out.push_back(
        {id, hf_name(id, config), tensor_shape(id, config), role == TensorRole::kRouterBias});
  }
  void add_layer(int64_t layer) {
    using enum TensorRole;
    for (const TensorRole role : {kAttentionNorm, kQ, kK, kV, kQNorm, kKNorm, kO, kFfnNorm})
      add(role, layer);
    if (!config.layer(layer).sparse) {
      for (const TensorRole role : {kGate, kUp, kDown}) add(role, layer);
      return;
    }
    for (const TensorRole role : {kRouter, kRouterBias}) add(role, layer);
    for (int64_t e = 0; e < config.expert_count; ++e) {
      for (const TensorRole role : {kExpertGate, kExpertUp, kExpertDown}) add(role, layer, e);
    }
    if (config.shared_expert_count == 0) return;
    for (const TensorRole role : {kSharedGate, kSharedUp, kSharedDown}) add(role, layer);
  }
};

}  // namespace

const char* role_name(TensorRole role) {
  static const char* names[] = {"embedding",
                                "head",
                                "final norm",
                                "attention norm",
                                "FFN norm",
                                "q",
                                "k",
                                "v",
                                "o",
                                "q norm",
                                "k norm",
                                "gate",
                                "up",
                                "down",
                                "router",
                                "router bias",
                                "expert gate",
                                "expert up",
                                "expert down",
                                "shared gate",
                                "shared up",
                                "shared down",
                                "MTP fc",
                                "MTP embedding norm",
                                "MTP hidden norm",
                                "MTP norm"};
  return names[static_cast<size_t>(role)];
}

bool is_expert(TensorRole role) {
  return role == TensorRole::kExpertGate || role == TensorRole::kExpertUp ||
         role == TensorRole::kExpertDown;
}

std::vector<ImpliedTensor> implied_tensors(const ModelConfig& config) {
  using enum TensorRole;
  Lister lister{config, {}};
  lister.add(kEmbedding);
  for (int64_t i = 0; i < config.layer_count(); ++i) lister.add_layer(i);
  lister.add(kFinalNorm);
  if (!config.tied_embeddings) lister.add(kHead);
  if (config.mtp_layer_count > 0) {
    for (const TensorRole role : {kMtpEmbeddingNorm, kMtpHiddenNorm, kMtpFc}) lister.add(role);
    lister.add_layer(config.layer_count());
    lister.add(kMtpNorm);
  }
  return std::move(lister.out);
}

std::string hf_name(TensorId id, const ModelConfig& config) {
  if (id.layer < 0) return global_name(id.role);
  const std::string prefix = layer_prefix(id.layer, config);
  if (!is_expert(id.role)) return prefix + layer_name(id.role, config.norm_order);
  if (id.expert < 0) return fmt::format("{}mlp.experts.{}.weight", prefix, expert_part(id.role));
  return fmt::format("{}mlp.experts.{}.{}.weight", prefix, id.expert, expert_part(id.role));
}

Shape tensor_shape(TensorId id, const ModelConfig& config) {
  const Shape one = single_shape(id.role, config);
  if (!is_expert(id.role) || id.expert >= 0) return one;
  return {config.expert_count, one[0], one[1]};
}

std::vector<std::string> hf_other_names(TensorId id, const ModelConfig& config) {
  if (id.role == TensorRole::kRouterBias) {
    const std::string prefix = layer_prefix(id.layer, config);
    return {prefix + "mlp.gate.e_score_correction_bias",
            prefix + "mlp.gate.e_score_correction_bias.weight"};
  }
  return {};
}

ModelCounts count_model(const ModelConfig& config) {
  ModelCounts counts;
  for (const ImpliedTensor& tensor : implied_tensors(config)) {
    const int64_t n = tensor.shape.elements();
    const bool mtp = tensor.id.layer == config.layer_count() || tensor.name.starts_with("mtp.");
    counts.tensors += 1;
    counts.parameters += n;
    counts.mtp_parameters += mtp ? n : 0;
    counts.bytes_16bit += n * (tensor.always_f32 ? 4 : 2);
    const bool idle =
        mtp || (is_expert(tensor.id.role) && tensor.id.expert >= config.experts_per_token);
    counts.active += idle ? 0 : n;
  }
  const int64_t embedding = config.vocab_size * config.hidden_size;
  counts.active_without_embedding = counts.active - (config.tied_embeddings ? 0 : embedding);
  return counts;
}

}  // namespace dure
