// Qwen3-MoE and GPT-OSS: their own fields of config.json, read and written. Source: transformers,
// configuration_qwen3_moe.py and configuration_gpt_oss.py, and the modelling files beside them.
#include <algorithm>
#include <cmath>
#include <set>

#include "formats/hf_config_parts.h"

namespace dure {
namespace {

constexpr double kGptOssAlpha = 1.702, kGptOssLimit = 7, kGptOssUpOffset = 1;

// transformers 5 writes the first name, the releases have the second.
int64_t read_expert_count(JsonFields& f) {
  const auto local = f.integer("num_local_experts"), older = f.integer("num_experts");
  if (local && older && *local != *older)
    fail(ErrorCode::kInvalidArgument, "{}: num_local_experts {} contradicts num_experts {}",
         f.where(), *local, *older);
  return local ? *local : older ? *older : f.needed("num_local_experts");
}

// A layer has experts unless it is listed, where its number from 1 is a multiple of the step.
void read_sparse_layers(JsonFields& f, ModelConfig& c) {
  const int64_t step = f.integer("decoder_sparse_step").value_or(1);
  if (step < 1)
    fail(ErrorCode::kInvalidArgument, "{}: decoder_sparse_step is {}, should be at least 1",
         f.where(), step);
  const std::vector<int64_t> listed = f.integers("mlp_only_layers");
  for (const int64_t layer : listed) {
    if (layer < 0 || layer >= c.layer_count())
      fail(ErrorCode::kInvalidArgument, "{}: mlp_only_layers names layer {} of {}", f.where(),
           layer, c.layer_count());
  }
  const std::set<int64_t> dense(listed.begin(), listed.end());
  for (int64_t i = 0; i < c.layer_count(); ++i)
    c.layers[static_cast<size_t>(i)].sparse = (i + 1) % step == 0 && !dense.contains(i);
}

// All layers slide or none: what transformers runs. Other programs let the first
// max_window_layers be global.
int64_t read_qwen3_window(JsonFields& f) {
  const auto window = f.integer("sliding_window"), global = f.integer("max_window_layers");
  if (!f.boolean("use_sliding_window").value_or(false)) return 0;
  if (!window || *window < 1)
    fail(ErrorCode::kInvalidArgument,
         "{}: use_sliding_window is true, but sliding_window is not at least 1", f.where());
  if (global && *global != 0)
    fail(ErrorCode::kUnsupported,
         "{}: max_window_layers {} with use_sliding_window; engines disagree about it: leave one "
         "of them away",
         f.where(), *global);
  return *window;
}

bool is_sparse(const LayerFacts& layer) { return layer.sparse; }

}  // namespace

void read_qwen3_moe(JsonFields& f, ModelConfig& c) {
  read_sparse_layers(f, c);
  ExpertFacts experts{.score = RouterScore::kSoftmax, .selection_bias = false};
  experts.normalise = f.boolean("norm_topk_prob").value_or(false);
  if (std::any_of(c.layers.begin(), c.layers.end(), is_sparse)) {
    experts.count = read_expert_count(f);
    experts.per_token = f.needed("num_experts_per_tok");
    experts.width = f.needed("moe_intermediate_size");
  }
  const int64_t window = read_qwen3_window(f);
  const bool biases = f.boolean("attention_bias").value_or(false);
  for (LayerFacts& layer : c.layers) {
    layer.window_tokens = window;
    layer.rope.kind = RopeKind::kPlain;
    layer.attention.biases = biases;
    layer.experts = experts;
  }
}

void read_gpt_oss(JsonFields& f, ModelConfig& c) {
  ExpertFacts experts{.score = RouterScore::kSoftmax, .selection_bias = false, .biases = true};
  experts.count = read_expert_count(f);
  const auto per_token = f.integer("num_experts_per_tok"), older = f.integer("experts_per_token");
  if (per_token && older && *per_token != *older)
    fail(ErrorCode::kInvalidArgument, "{}: num_experts_per_tok {} contradicts experts_per_token {}",
         f.where(), *per_token, *older);
  experts.per_token = per_token ? *per_token : older ? *older : f.needed("num_experts_per_tok");
  experts.width = f.needed("intermediate_size");
  const int64_t window = f.integer("sliding_window").value_or(0);
  const Json::Array* types = f.list("layer_types", c.layer_count());
  LayerFacts each = c.layers[0];
  each.rope.kind = RopeKind::kPlain;
  each.attention = {
      .qk_norm = false, .biases = f.boolean("attention_bias").value_or(true), .sinks = true};
  each.sparse = true;
  each.experts = experts;
  each.activation = {.limit = f.number("swiglu_limit").value_or(kGptOssLimit),
                     .alpha = f.number("swiglu_alpha").value_or(kGptOssAlpha),
                     .up_offset = kGptOssUpOffset};
  for (size_t i = 0; i < c.layers.size(); ++i) {
    const bool sliding =
        types != nullptr ? is_sliding((*types)[i], f.place("layer_types")) : i % 2 == 0;
    if (sliding && window < 1)
      fail(ErrorCode::kInvalidArgument, "{}: layer {} is sliding, but sliding_window is {}",
           f.where(), i, window);
    c.layers[i] = each;
    c.layers[i].window_tokens = sliding ? window : 0;
  }
}

void write_qwen3_moe(const ModelConfig& c, Json& out) {
  const ExpertFacts& experts = common_experts(c);
  Json dense = Json::array();
  for (int64_t i = 0; i < c.layer_count(); ++i) {
    if (!c.layer(i).sparse) dense.push_back(i);
  }
  out["attention_bias"] = c.layer(0).attention.biases;
  out["decoder_sparse_step"] = 1;
  out["mlp_only_layers"] = dense;
  out["moe_intermediate_size"] = experts.width;
  out["num_experts"] = experts.count;
  out["num_experts_per_tok"] = experts.per_token;
  out["norm_topk_prob"] = experts.normalise;
  const int64_t window = c.layer(0).window_tokens;
  out["use_sliding_window"] = window > 0;
  out["sliding_window"] = window > 0 ? Json(window) : Json();
}

void write_gpt_oss(const ModelConfig& c, Json& out) {
  const LayerFacts& each = c.layer(0);
  Json types = Json::array();
  int64_t window = 0;
  for (const LayerFacts& layer : c.layers) {
    types.push_back(layer_type(layer.window_tokens));
    window = std::max(window, layer.window_tokens);
  }
  out["attention_bias"] = each.attention.biases;
  out["intermediate_size"] = each.experts.width;
  out["num_local_experts"] = each.experts.count;
  out["num_experts_per_tok"] = each.experts.per_token;
  out["experts_per_token"] = each.experts.per_token;
  out["swiglu_limit"] = each.activation.limit;
  out["swiglu_alpha"] = each.activation.alpha;
  out["layer_types"] = types;
  out["sliding_window"] = window > 0 ? Json(window) : Json();
}

double yarn_attention_factor(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

}  // namespace dure
