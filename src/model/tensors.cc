#include "model/tensors.h"

#include "base/error.h"

namespace dure {
namespace {

struct Lister {
  const ModelConfig& config;
  std::vector<TensorFacts> list;

  void add(std::string name, Shape shape, ParameterKind kind, int64_t layer) {
    list.push_back({std::move(name), shape, kind, layer});
  }

  void ffn(const std::string& prefix, int64_t width, int64_t layer) {
    const int64_t d = config.hidden_size;
    add(prefix + "gate_proj.weight", {width, d}, ParameterKind::kMatrix, layer);
    add(prefix + "up_proj.weight", {width, d}, ParameterKind::kMatrix, layer);
    add(prefix + "down_proj.weight", {d, width}, ParameterKind::kMatrix, layer);
  }

  void experts(const std::string& prefix, int64_t layer) {
    const int64_t d = config.hidden_size, e = config.expert_count, i = config.expert_width;
    add(prefix + "gate.weight", {e, d}, ParameterKind::kRouter, layer);
    add(prefix + "e_score_correction_bias", {e}, ParameterKind::kRouterBias, layer);
    add(prefix + "experts.gate_proj.weight", {e, i, d}, ParameterKind::kExperts, layer);
    add(prefix + "experts.up_proj.weight", {e, i, d}, ParameterKind::kExperts, layer);
    add(prefix + "experts.down_proj.weight", {e, d, i}, ParameterKind::kExperts, layer);
    if (config.shared_expert_count > 0)
      ffn(prefix + "shared_experts.", config.shared_width(), layer);
  }

  void layer(const std::string& prefix, const LayerFacts& facts, int64_t index) {
    const int64_t d = config.hidden_size, h = config.head_width;
    const int64_t queries = config.head_count * h, keys = config.kv_head_count * h;
    add(prefix + "input_layernorm.weight", {d}, ParameterKind::kNorm, index);
    add(prefix + "self_attn.q_proj.weight", {queries, d}, ParameterKind::kMatrix, index);
    add(prefix + "self_attn.k_proj.weight", {keys, d}, ParameterKind::kMatrix, index);
    add(prefix + "self_attn.v_proj.weight", {keys, d}, ParameterKind::kMatrix, index);
    add(prefix + "self_attn.o_proj.weight", {d, queries}, ParameterKind::kMatrix, index);
    add(prefix + "self_attn.q_norm.weight", {h}, ParameterKind::kNorm, index);
    add(prefix + "self_attn.k_norm.weight", {h}, ParameterKind::kNorm, index);
    add(prefix + "post_attention_layernorm.weight", {d}, ParameterKind::kNorm, index);
    if (facts.sparse) {
      experts(prefix + "mlp.", index);
    } else {
      ffn(prefix + "mlp.", config.dense_width, index);
    }
  }

  void mtp() {
    const int64_t d = config.hidden_size, index = config.layer_count();
    add("mtp.fc.weight", {d, 2 * d}, ParameterKind::kMatrix, index);
    add("mtp.pre_fc_norm_embedding.weight", {d}, ParameterKind::kNorm, index);
    add("mtp.pre_fc_norm_hidden.weight", {d}, ParameterKind::kNorm, index);
    layer("mtp.layers.0.", config.mtp_layer, index);
    add("mtp.norm.weight", {d}, ParameterKind::kNorm, index);
  }
};

}  // namespace

std::vector<TensorFacts> tensor_list(const ModelConfig& config) {
  if (config.norm_order != NormOrder::kPre) {
    fail(ErrorCode::kUnsupported,
         "a model with its norms after the blocks (EXAONE 4.0) can be inspected and converted, not "
         "run");
  }
  Lister lister{config, {}};
  const Shape table{config.vocab_size, config.hidden_size};
  lister.add("model.embed_tokens.weight", table, ParameterKind::kEmbedding, -1);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    lister.layer("model.layers." + std::to_string(i) + ".", config.layers[i],
                 static_cast<int64_t>(i));
  }
  lister.add("model.norm.weight", {config.hidden_size}, ParameterKind::kNorm, -1);
  if (!config.tied_embeddings) lister.add("lm_head.weight", table, ParameterKind::kHead, -1);
  if (config.mtp_layer_count > 0) {
    DURE_CHECK(config.mtp_layer_count == 1 && !config.mtp_layer.sparse, "{} MTP layers",
               config.mtp_layer_count);
    lister.mtp();
  }
  return std::move(lister.list);
}

}  // namespace dure
