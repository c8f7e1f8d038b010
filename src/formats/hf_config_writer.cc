// write_hf_config() of hf_config.h: ModelConfig in the newest spelling of config.json.
#include <algorithm>
#include <functional>

#include "base/error.h"
#include "formats/hf_config.h"
#include "formats/hf_config_parts.h"

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

void check_exaone_layers(const ModelConfig& c) {
  for (int64_t i = 0; i < c.layer_count() + c.mtp_layer_count; ++i) {
    if (!is_exaone_layer(c.layer(i)))
      fail(ErrorCode::kUnsupported, "config.json of no family says what layer {} is", i);
  }
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
      per_layer(c, [](const LayerFacts& layer) { return Json(layer_type(layer.window_tokens)); });
}

void write_rope(const RopeFacts& rope, Json& out) {
  const bool llama3 = rope.kind == RopeKind::kLlama3, yarn = rope.kind == RopeKind::kYarn;
  Json fields = Json::object();
  fields["rope_type"] = llama3 ? "llama3" : yarn ? "yarn" : "default";
  fields["rope_theta"] = rope.theta;
  if (llama3) {
    fields["factor"] = rope.factor;
    fields["low_freq_factor"] = rope.low_frequency_factor;
    fields["high_freq_factor"] = rope.high_frequency_factor;
    fields["original_max_position_embeddings"] = rope.original_context_tokens;
  }
  if (yarn) {
    fields["factor"] = rope.factor;
    fields["original_max_position_embeddings"] = rope.original_context_tokens;
    fields["beta_fast"] = rope.beta_fast;
    fields["beta_slow"] = rope.beta_slow;
    fields["truncate"] = rope.truncate;
    if (rope.attention_factor != yarn_attention_factor(rope.factor))
      fields["attention_factor"] = rope.attention_factor;
  }
  out["rope_parameters"] = fields;
}

const char* score_name(RouterScore score) {
  switch (score) {
    case RouterScore::kSigmoid:
      return "sigmoid";
    case RouterScore::kSoftmax:
      return "softmax";
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
      Json::array_of(std::initializer_list<const char*>{layer_type(c.mtp_layer.window_tokens)});
  out["mtp_sliding_windows"] =
      Json::array_of(std::initializer_list<int64_t>{c.mtp_layer.window_tokens});
  if (c.mtp_steps == 1) return;
  out["mtp_num_speculative_steps"] = c.mtp_steps;
  out["mtp_share_layers"] = true;
}

void write_layers(HfFamily family, const ModelConfig& c, Json& out) {
  switch (family) {
    case HfFamily::kQwen3Moe:
      return write_qwen3_moe(c, out);
    case HfFamily::kGptOss:
      return write_gpt_oss(c, out);
    case HfFamily::kExaoneMoe:
      write_attention(c, out);
      write_experts(c, out);
      return write_mtp(c, out);
    case HfFamily::kExaone4:
      return write_attention(c, out);
  }
}

// A layer with a fact that the family's file has no field for comes back as another.
void check_says_all(HfFamily family, const ModelConfig& c, const Json& written) {
  const std::vector<LayerFacts> wanted = used_facts(c),
                                said = used_facts(parse_hf_config(written, "configuration"));
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (said[i] == wanted[i]) continue;
    fail(ErrorCode::kUnsupported, "config.json of {} cannot say what layer {} is",
         hf_family_names(family).model_type, i);
  }
  if (c.mtp_layer_count > 0)
    fail(ErrorCode::kUnsupported, "config.json of {} has no MTP layer",
         hf_family_names(family).model_type);
}

}  // namespace

const char* layer_type(int64_t window_tokens) {
  return window_tokens > 0 ? "sliding_attention" : "full_attention";
}

Json write_hf_config(const ModelConfig& c) {
  check_config(c, "configuration");
  check_common_facts(c, "config.json");
  const HfFamily family = hf_family_of(c);
  if (family == HfFamily::kExaoneMoe || family == HfFamily::kExaone4) check_exaone_layers(c);
  Json out = Json::object();
  out["architectures"] =
      Json::array_of(std::initializer_list<const char*>{hf_family_names(family).architecture});
  out["model_type"] = hf_family_names(family).model_type;
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
  write_layers(family, c, out);
  write_rope(common_rope(c), out);
  out["dtype"] = c.dtype;
  if (family == HfFamily::kQwen3Moe || family == HfFamily::kGptOss) check_says_all(family, c, out);
  return out;
}

}  // namespace dure
