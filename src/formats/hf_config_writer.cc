// write_hf_config() of hf_config.h: ModelConfig in the newest spelling of config.json.
#include <algorithm>
#include <functional>

#include "base/error.h"
#include "formats/hf_config.h"

namespace dure {
namespace {

// The one window of all sliding layers; 0 where there is none, nothing where they differ.
std::optional<int64_t> common_window(const ModelConfig& c) {
  int64_t common = 0;
  for (const LayerFacts& layer : c.layers) {
    if (layer.window_tokens == 0) continue;
    if (common != 0 && common != layer.window_tokens) return std::nullopt;
    common = layer.window_tokens;
  }
  return common;
}

void check_expressible(const ModelConfig& c) {
  check_config(c, "configuration");
  check_common_facts(c, "config.json");
  const bool any = common_window(c) != 0;
  for (int64_t i = 0; i < c.layer_count(); ++i) {
    const LayerFacts& layer = c.layer(i);
    if (layer.rotary() != (any ? layer.window_tokens > 0 : true)) {
      fail(ErrorCode::kUnsupported, "config.json cannot say that layer {} is {} and {}", i,
           layer.window_tokens > 0 ? "sliding" : "global",
           layer.rotary() ? "rotary" : "without RoPE");
    }
  }
  if (c.mtp_layer_count > 0 && c.mtp_layer.rotary() != (c.mtp_layer.window_tokens > 0)) {
    fail(ErrorCode::kUnsupported, "config.json cannot say that the MTP layer is {} and {}",
         c.mtp_layer.window_tokens > 0 ? "sliding" : "global",
         c.mtp_layer.rotary() ? "rotary" : "without RoPE");
  }
  const NormOrder order = c.layer(0).norm_order;
  for (int64_t i = 0; i < c.layer_count() + c.mtp_layer_count; ++i) {
    if (c.layer(i).norm_order != order)
      fail(ErrorCode::kUnsupported, "config.json has no model with pre-norm and post-norm layers");
  }
  if (order == NormOrder::kPost && (c.sparse_layer_count() > 0 || c.mtp_layer_count > 0)) {
    fail(ErrorCode::kUnsupported,
         "config.json has no post-norm model with experts or an MTP layer");
  }
}

const char* kind_name(int64_t window) {
  return window > 0 ? "sliding_attention" : "full_attention";
}

Json per_layer(const ModelConfig& c, const std::function<Json(const LayerFacts&)>& fact) {
  Json list = Json::array();
  for (const LayerFacts& layer : c.layers) list.push_back(fact(layer));
  return list;
}

void write_attention(const ModelConfig& c, Json& out) {
  const auto window = common_window(c);
  if (window) {
    out["sliding_window"] = *window > 0 ? Json(*window) : Json();
  } else {
    out["sliding_windows"] =
        per_layer(c, [](const LayerFacts& layer) { return Json(layer.window_tokens); });
  }
  out["layer_types"] =
      per_layer(c, [](const LayerFacts& layer) { return Json(kind_name(layer.window_tokens)); });
}

void write_rope(const RopeFacts& rope, Json& out) {
  const bool llama3 = rope.kind == RopeKind::kLlama3;
  Json fields = Json::object();
  fields["rope_type"] = llama3 ? "llama3" : "default";
  fields["rope_theta"] = rope.theta;
  if (llama3) {
    fields["factor"] = rope.factor;
    fields["low_freq_factor"] = rope.low_frequency_factor;
    fields["high_freq_factor"] = rope.high_frequency_factor;
    fields["original_max_position_embeddings"] = rope.original_context_tokens;
  }
  out["rope_parameters"] = fields;
}

const char* score_name(RouterScore score) {
  switch (score) {
    case RouterScore::kSigmoid:
      return "sigmoid";
  }
  return "";
}

void write_experts(const ModelConfig& c, Json& out) {
  int64_t dense = 0;
  while (dense < c.layer_count() && !c.layer(dense).sparse) ++dense;
  out["mlp_layer_types"] =
      per_layer(c, [](const LayerFacts& layer) { return Json(layer.sparse ? "sparse" : "dense"); });
  if (c.layer_count() - dense == c.sparse_layer_count()) out["first_k_dense_replace"] = dense;
  const ExpertFacts& experts = common_experts(c);
  out["moe_intermediate_size"] = experts.width;
  out["num_experts"] = experts.count;
  out["num_experts_per_tok"] = experts.per_token;
  out["num_shared_experts"] = experts.shared_count;
  out["norm_topk_prob"] = experts.normalise;
  out["routed_scaling_factor"] = experts.scale;
  out["n_group"] = experts.group_count;
  out["topk_group"] = experts.groups_kept;
  out["scoring_func"] = score_name(experts.score);
  out["topk_method"] = "noaux_tc";
  const auto clamped = [](const LayerFacts& layer) { return layer.activation.limit > 0; };
  if (std::any_of(c.layers.begin(), c.layers.end(), clamped)) {
    out["swiglu_limits"] =
        per_layer(c, [](const LayerFacts& layer) { return Json(layer.activation.limit); });
  }
}

void write_mtp(const ModelConfig& c, Json& out) {
  out["num_nextn_predict_layers"] = c.mtp_layer_count;
  if (c.mtp_layer_count == 0) return;
  out["mtp_layer_types"] =
      Json::array_of(std::initializer_list<const char*>{kind_name(c.mtp_layer.window_tokens)});
  out["mtp_sliding_windows"] =
      Json::array_of(std::initializer_list<int64_t>{c.mtp_layer.window_tokens});
  if (c.mtp_steps == 1) return;
  out["mtp_num_speculative_steps"] = c.mtp_steps;
  out["mtp_share_layers"] = true;
}

}  // namespace

Json write_hf_config(const ModelConfig& c) {
  check_expressible(c);
  const bool moe = c.layer(0).norm_order == NormOrder::kPre;
  Json out = Json::object();
  out["architectures"] = Json::array_of(
      std::initializer_list<const char*>{moe ? "ExaoneMoeForCausalLM" : "Exaone4ForCausalLM"});
  out["model_type"] = moe ? "exaone_moe" : "exaone4";
  out["vocab_size"] = c.vocab_size;
  out["hidden_size"] = c.hidden_size;
  out["intermediate_size"] = common_dense_width(c);
  out["num_hidden_layers"] = c.layer_count();
  out["num_attention_heads"] = c.head_count;
  out["num_key_value_heads"] = c.kv_head_count;
  out["head_dim"] = c.head_width;
  out["hidden_act"] = "silu";
  out["max_position_embeddings"] = c.context_tokens;
  out["initializer_range"] = c.initializer_range;
  out["rms_norm_eps"] = c.norm_epsilon;
  out["tie_word_embeddings"] = c.tied_embeddings;
  out["attention_dropout"] = 0.0;
  out["bos_token_id"] = c.bos_token;
  out["eos_token_id"] =
      c.eos_tokens.size() == 1 ? Json(c.eos_tokens[0]) : Json::array_of(c.eos_tokens);
  out["pad_token_id"] = c.pad_token;
  write_attention(c, out);
  write_rope(common_rope(c), out);
  if (moe) {
    write_experts(c, out);
    write_mtp(c, out);
  }
  out["dtype"] = c.dtype;
  return out;
}

}  // namespace dure
