#include "formats/model_config.h"

#include <cmath>

#include "base/check.h"
#include "base/error.h"

namespace dure {
namespace {

// Bounds far above any model: they keep a hostile file from asking for absurd memory before it is
// refused.
constexpr int64_t kWidthMax = int64_t{1} << 24, kLayersMax = 4096, kExpertsMax = 65536,
                  kExpertTensorsMax = int64_t{1} << 22;

void check_range(const std::string& where, const char* field, int64_t value, int64_t low,
                 int64_t high) {
  if (value < low || value > high)
    fail(ErrorCode::kInvalidArgument, "{}: {} is {}, should be from {} to {}", where, field, value,
         low, high);
}

void check_positive(const std::string& where, const char* field, double value) {
  if (!(value > 0) || !std::isfinite(value))
    fail(ErrorCode::kInvalidArgument, "{}: {} is {}, should be above 0", where, field, value);
}

void check_heads(const ModelConfig& c, const std::string& where) {
  check_range(where, "num_attention_heads", c.head_count, 1, kWidthMax);
  check_range(where, "num_key_value_heads", c.kv_head_count, 1, c.head_count);
  check_range(where, "head_dim", c.head_width, 1, 65536);
  if (c.head_count % c.kv_head_count != 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: num_attention_heads {} is not a multiple of num_key_value_heads {}", where,
         c.head_count, c.kv_head_count);
  }
  check_range(where, "num_attention_heads times head_dim", c.head_count * c.head_width, 1,
              kWidthMax);
}

void check_experts(const ModelConfig& c, const std::string& where) {
  check_range(where, "num_experts", c.expert_count, 1, kExpertsMax);
  check_range(where, "num_experts times sparse layers", c.expert_count * c.sparse_layer_count(), 1,
              kExpertTensorsMax);
  check_range(where, "num_experts_per_tok", c.experts_per_token, 1, c.expert_count);
  check_range(where, "moe_intermediate_size", c.expert_width, 1, kWidthMax);
  check_range(where, "num_shared_experts", c.shared_expert_count, 0, 1024);
  check_range(where, "n_group", c.expert_group_count, 1, c.expert_count);
  check_range(where, "topk_group", c.expert_groups_kept, 1, c.expert_group_count);
  check_positive(where, "routed_scaling_factor", c.routed_scale);
  if (c.expert_count % c.expert_group_count != 0) {
    fail(ErrorCode::kInvalidArgument, "{}: num_experts {} is not a multiple of n_group {}", where,
         c.expert_count, c.expert_group_count);
  }
  const int64_t group_size = c.expert_count / c.expert_group_count;
  if (c.expert_group_count > 1 && group_size < 2) {
    fail(ErrorCode::kInvalidArgument,
         "{}: n_group {} leaves {} expert a group; grouped routing needs 2", where,
         c.expert_group_count, group_size);
  }
  if (c.experts_per_token > group_size * c.expert_groups_kept) {
    fail(ErrorCode::kInvalidArgument,
         "{}: num_experts_per_tok {} is more than the {} experts of {} kept groups", where,
         c.experts_per_token, group_size * c.expert_groups_kept, c.expert_groups_kept);
  }
}

void check_layer(const LayerFacts& layer, const ModelConfig& c, const std::string& where) {
  if (layer.window_tokens < 0)
    fail(ErrorCode::kInvalidArgument, "{}: window {} is below 0", where, layer.window_tokens);
  if (!(layer.swiglu_limit >= 0) || !std::isfinite(layer.swiglu_limit)) {
    fail(ErrorCode::kInvalidArgument, "{}: swiglu limit {} is below 0", where, layer.swiglu_limit);
  }
  if (layer.rotary && c.head_width % 2 != 0)
    fail(ErrorCode::kInvalidArgument, "{}: rotary positions need an even head_dim, not {}", where,
         c.head_width);
}

void check_rope(const RopeFacts& rope, const std::string& where) {
  check_positive(where, "rope_theta", rope.theta);
  if (rope.scaling == "default") return;
  if (rope.scaling != "llama3") {
    fail(ErrorCode::kUnsupported, "{}: rope type '{}'; known are 'default' and 'llama3'", where,
         rope.scaling);
  }
  check_positive(where, "rope factor", rope.factor);
  check_positive(where, "low_freq_factor", rope.low_frequency_factor);
  check_range(where, "original_max_position_embeddings", rope.original_context_tokens, 1,
              int64_t{1} << 40);
  if (!(rope.high_frequency_factor > rope.low_frequency_factor)) {
    fail(ErrorCode::kInvalidArgument, "{}: high_freq_factor {} should be above low_freq_factor {}",
         where, rope.high_frequency_factor, rope.low_frequency_factor);
  }
}

}  // namespace

int64_t ModelConfig::sparse_layer_count() const {
  int64_t count = 0;
  for (const LayerFacts& layer : layers) count += layer.sparse ? 1 : 0;
  return count;
}

const LayerFacts& ModelConfig::layer(int64_t i) const {
  DURE_CHECK(i >= 0 && i < layer_count() + mtp_layer_count, "layer {} of {} and {} MTP", i,
             layer_count(), mtp_layer_count);
  return i < layer_count() ? layers[static_cast<size_t>(i)] : mtp_layer;
}

void check_config(const ModelConfig& config, const std::string& where) {
  check_range(where, "vocab_size", config.vocab_size, 1, int64_t{1} << 31);
  check_range(where, "hidden_size", config.hidden_size, 1, kWidthMax);
  check_range(where, "num_hidden_layers", config.layer_count(), 1, kLayersMax);
  check_range(where, "intermediate_size", config.dense_width, 1, kWidthMax);
  check_range(where, "max_position_embeddings", config.context_tokens, 1, int64_t{1} << 40);
  check_heads(config, where);
  check_positive(where, "rms_norm_eps", config.norm_epsilon);
  check_rope(config.rope, where);
  if (config.sparse_layer_count() > 0) check_experts(config, where);
  for (int64_t i = 0; i < config.layer_count(); ++i)
    check_layer(config.layer(i), config, where + ": layer " + std::to_string(i));
  check_range(where, "num_nextn_predict_layers", config.mtp_layer_count, 0, 1);
  check_range(where, "mtp_num_speculative_steps", config.mtp_steps, 1, 64);
  check_layer(config.mtp_layer, config, where + ": MTP layer");
  if (config.mtp_layer.sparse) fail(ErrorCode::kUnsupported, "{}: a sparse MTP layer", where);
}

}  // namespace dure
