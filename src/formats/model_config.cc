// The checks of a configuration, and what its layers have in common.
#include "formats/model_config.h"

#include <algorithm>
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

void check_experts(const ExpertFacts& e, int64_t sparse_layers, const std::string& where) {
  check_range(where, "num_experts", e.count, 1, kExpertsMax);
  check_range(where, "num_experts times sparse layers", e.count * sparse_layers, 1,
              kExpertTensorsMax);
  check_range(where, "num_experts_per_tok", e.per_token, 1, e.count);
  check_range(where, "moe_intermediate_size", e.width, 1, kWidthMax);
  check_range(where, "num_shared_experts", e.shared_count, 0, 1024);
  check_range(where, "n_group", e.group_count, 1, e.count);
  check_range(where, "topk_group", e.groups_kept, 1, e.group_count);
  check_positive(where, "routed_scaling_factor", e.scale);
  if (e.count % e.group_count != 0) {
    fail(ErrorCode::kInvalidArgument, "{}: num_experts {} is not a multiple of n_group {}", where,
         e.count, e.group_count);
  }
  const int64_t group_size = e.count / e.group_count;
  if (e.group_count > 1 && group_size < 2) {
    fail(ErrorCode::kInvalidArgument,
         "{}: n_group {} leaves {} expert a group; grouped routing needs 2", where, e.group_count,
         group_size);
  }
  if (e.per_token > group_size * e.groups_kept) {
    fail(ErrorCode::kInvalidArgument,
         "{}: num_experts_per_tok {} is more than the {} experts of {} kept groups", where,
         e.per_token, group_size * e.groups_kept, e.groups_kept);
  }
}

void check_layer(const LayerFacts& layer, const ModelConfig& c, const std::string& where) {
  if (layer.window_tokens < 0)
    fail(ErrorCode::kInvalidArgument, "{}: window {} is below 0", where, layer.window_tokens);
  const double limit = layer.activation.limit;
  if (!(limit >= 0) || !std::isfinite(limit))
    fail(ErrorCode::kInvalidArgument, "{}: swiglu limit {} is below 0", where, limit);
  check_positive(where, "swiglu_alpha", layer.activation.alpha);
  if (!std::isfinite(layer.activation.up_offset))
    fail(ErrorCode::kInvalidArgument, "{}: the offset of the up half is not finite", where);
  if (layer.rotary() && c.head_width % 2 != 0)
    fail(ErrorCode::kInvalidArgument, "{}: rotary positions need an even head_dim, not {}", where,
         c.head_width);
}

void check_yarn(const RopeFacts& rope, const std::string& where) {
  check_positive(where, "beta_slow", rope.beta_slow);
  check_positive(where, "attention_factor", rope.attention_factor);
  if (!(rope.beta_fast > rope.beta_slow) || !std::isfinite(rope.beta_fast)) {
    fail(ErrorCode::kInvalidArgument, "{}: beta_fast {} should be above beta_slow {}", where,
         rope.beta_fast, rope.beta_slow);
  }
  if (rope.theta == 1)
    fail(ErrorCode::kInvalidArgument, "{}: rope_theta is 1; YaRN needs wavelengths that differ",
         where);
}

void check_rope(const RopeFacts& rope, const std::string& where) {
  check_positive(where, "rope_theta", rope.theta);
  if (rope.kind != RopeKind::kLlama3 && rope.kind != RopeKind::kYarn) return;
  check_positive(where, "rope factor", rope.factor);
  check_range(where, "original_max_position_embeddings", rope.original_context_tokens, 1,
              int64_t{1} << 40);
  if (rope.kind == RopeKind::kYarn) return check_yarn(rope, where);
  check_positive(where, "low_freq_factor", rope.low_frequency_factor);
  if (!(rope.high_frequency_factor > rope.low_frequency_factor)) {
    fail(ErrorCode::kInvalidArgument, "{}: high_freq_factor {} should be above low_freq_factor {}",
         where, rope.high_frequency_factor, rope.low_frequency_factor);
  }
}

// The layers in their order, the MTP layer last where there is one.
std::vector<const LayerFacts*> all_layers(const ModelConfig& config) {
  std::vector<const LayerFacts*> all;
  for (const LayerFacts& layer : config.layers) all.push_back(&layer);
  if (config.mtp_layer_count > 0) all.push_back(&config.mtp_layer);
  return all;
}

bool is_sparse(const LayerFacts& layer) { return layer.sparse; }
bool is_dense(const LayerFacts& layer) { return !layer.sparse; }
bool is_rotary(const LayerFacts& layer) { return layer.rotary(); }

using UsesFact = bool (*)(const LayerFacts&);

// The first layer that uses a fact; the first of all where none does.
const LayerFacts& first_that(UsesFact uses, const ModelConfig& config) {
  const std::vector<const LayerFacts*> all = all_layers(config);
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const LayerFacts* layer) { return uses(*layer); });
  return found == all.end() ? *all.at(0) : **found;
}

template <typename Fact>
void check_common(UsesFact uses, Fact LayerFacts::*fact, const ModelConfig& config,
                  const std::string& format, const char* name) {
  const Fact& common = first_that(uses, config).*fact;
  for (const LayerFacts* layer : all_layers(config)) {
    if (uses(*layer) && !(layer->*fact == common))
      fail(ErrorCode::kUnsupported, "{} cannot say that layers differ in {}", format, name);
  }
}

}  // namespace

const RopeFacts& common_rope(const ModelConfig& config) {
  return first_that(is_rotary, config).rope;
}

const ExpertFacts& common_experts(const ModelConfig& config) {
  return first_that(is_sparse, config).experts;
}

int64_t common_dense_width(const ModelConfig& config) {
  return first_that(is_dense, config).dense_width;
}

void check_common_facts(const ModelConfig& config, const std::string& format) {
  check_common(is_rotary, &LayerFacts::rope, config, format, "their RoPE");
  check_common(is_sparse, &LayerFacts::experts, config, format, "their experts");
  check_common(is_dense, &LayerFacts::dense_width, config, format, "the width of a dense FFN");
}

int64_t ModelConfig::sparse_layer_count() const {
  return std::count_if(layers.begin(), layers.end(), is_sparse);
}

int64_t ModelConfig::expert_count_max() const {
  int64_t most = 0;
  for (const LayerFacts& layer : layers)
    most = std::max(most, layer.sparse ? layer.experts.count : 0);
  return most;
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
  for (const LayerFacts* layer : all_layers(config))
    check_range(where, "intermediate_size", layer->dense_width, 1, kWidthMax);
  check_range(where, "max_position_embeddings", config.context_tokens, 1, int64_t{1} << 40);
  for (const int64_t id : config.eos_tokens)
    check_range(where, "eos_token_id", id, 0, config.vocab_size - 1);
  check_heads(config, where);
  check_positive(where, "rms_norm_eps", config.norm_epsilon);
  for (const LayerFacts* layer : all_layers(config)) check_rope(layer->rope, where);
  for (const LayerFacts& layer : config.layers) {
    if (layer.sparse) check_experts(layer.experts, config.sparse_layer_count(), where);
  }
  for (int64_t i = 0; i < config.layer_count(); ++i)
    check_layer(config.layer(i), config, where + ": layer " + std::to_string(i));
  check_range(where, "num_nextn_predict_layers", config.mtp_layer_count, 0, 1);
  check_range(where, "mtp_num_speculative_steps", config.mtp_steps, 1, 64);
  check_layer(config.mtp_layer, config, where + ": MTP layer");
  if (config.mtp_layer.sparse) fail(ErrorCode::kUnsupported, "{}: a sparse MTP layer", where);
}

}  // namespace dure
