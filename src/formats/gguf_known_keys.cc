// The lists, in llama.cpp's words, and the check against them.
#include "formats/gguf_known_keys.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace dure {
namespace {

// What gguf_model.cc reads and checks itself, of either architecture.
constexpr std::array kRead = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "vocab_size",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
    "expert_shared_count",
    "expert_shared_feed_forward_length",
    "expert_group_count",
    "expert_group_used_count",
    "expert_gating_func",
    "expert_weights_scale",
    "expert_weights_norm",
    "nextn_predict_layers",
};
constexpr std::array kReadPlain = {"attention.sliding_window", "attention.sliding_window_pattern",
                                   "leading_dense_block_count"};
constexpr std::array kReadExtended = {"layer_windows",
                                      "layer_rotary",
                                      "layer_sparse",
                                      "layer_swiglu_limits",
                                      "layer_post_norm",
                                      "rope.scaling.low_freq_factor",
                                      "rope.scaling.high_freq_factor"};
// Without a say in the arithmetic.
constexpr std::array kHarmless = {"rope.scaling.finetuned", "embedding_length_out"};

template <size_t N>
bool is_in(const std::array<const char*, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// Keys that may stand at these values only. 0 is llama.cpp's "not set" where it is listed.
std::map<std::string, std::vector<double>, std::less<>> neutral_values(const ModelConfig& c,
                                                                       double theta) {
  const double width = static_cast<double>(c.head_width);
  std::map<std::string, std::vector<double>, std::less<>> out = {
      {"rope.freq_base_swa", {theta}},
      {"attention.layer_norm_epsilon", {c.norm_epsilon}},
      {"attention.causal", {1}},
      {"moe_every_n_layers", {0, 1}},
      {"interleave_moe_layer_step", {0, 1}},
      {"expert_group_scale", {0, 1}},
      {"attention.scale", {0, 1 / std::sqrt(width)}},
  };
  for (const char* key : {"rope.dimension_count", "rope.dimension_count_swa",
                          "attention.key_length_swa", "attention.value_length_swa"})
    out[key] = {width};
  for (const char* key : {"rope.scale_linear", "rope.scaling.attn_factor", "logit_scale",
                          "residual_scale", "embedding_scale", "attention.output_scale"})
    out[key] = {0, 1};
  for (const char* key :
       {"attn_logit_softcapping", "final_logit_softcapping", "router_logit_softcapping",
        "attention.clamp_kqv", "attention.max_alibi_bias", "attention.temperature_scale",
        "attention.temperature_length", "attention.q_lora_rank", "attention.kv_lora_rank",
        "attention.key_length_mla", "attention.value_length_mla", "attention.shared_kv_layers",
        "use_parallel_residual", "pooling_type", "swiglu_clamp_exp", "swiglu_clamp_shexp",
        "swiglu_limit", "rope.scaling.yarn_log_multiplier"})
    out[key] = {0};
  return out;
}

// The numbers of a scalar or a list, bools as 0 and 1; nothing for text.
std::vector<double> numbers_of(const GgufValue& value, const std::string& place) {
  const GgufType element = value.element();
  if (element == GgufType::kString) return {};
  const bool real = element == GgufType::kF32 || element == GgufType::kF64;
  if (!value.is_array()) {
    if (element == GgufType::kBool) return {value.as_bool(place) ? 1.0 : 0.0};
    return {value.as_double(place)};
  }
  if (real) return value.as_doubles(place);
  const std::vector<int64_t>& whole = value.as_ints(place);
  return {whole.begin(), whole.end()};
}

bool near(double a, double b) { return std::abs(a - b) <= 1e-6 * std::abs(b); }

bool all_neutral(const std::vector<double>& numbers, const std::vector<double>& allowed) {
  return !numbers.empty() && std::all_of(numbers.begin(), numbers.end(), [&](double number) {
    return std::any_of(allowed.begin(), allowed.end(),
                       [&](double other) { return near(number, other); });
  });
}

// What YaRN would be told is read by nobody where the type is not YaRN's.
bool is_passed_over(std::string_view key, bool extended) {
  return is_in(kRead, key) || is_in(kHarmless, key) ||
         (extended ? is_in(kReadExtended, key) : is_in(kReadPlain, key)) ||
         key.starts_with("rope.scaling.yarn_beta") || key == "rope.scaling.yarn_ext_factor" ||
         key == "rope.scaling.yarn_attn_factor";
}

}  // namespace

void check_gguf_keys(const GgufMetadata& metadata, const std::string& prefix, double theta,
                     const ModelConfig& config, const std::string& file) {
  const bool extended = prefix.starts_with("dure-"),
             reads_yarn = !extended && prefix != "exaone-moe.";
  const auto neutral = neutral_values(config, theta);
  for (const auto& [key, value] : metadata.entries()) {
    if (!key.starts_with(prefix)) continue;
    const std::string name = key.substr(prefix.size()), place = file + ": " + key;
    if (is_passed_over(name, extended)) continue;
    if (reads_yarn && name == "rope.scaling.attn_factor") continue;
    if (name == "tensor_data_layout" && value == GgufValue::string("reference")) continue;
    const auto found = neutral.find(name);
    if (found == neutral.end()) {
      fail(ErrorCode::kUnsupported,
           "{}: unknown key (it is {}); it may change the model, so it is not ignored", place,
           value.text());
    }
    if (!all_neutral(numbers_of(value, place), found->second)) {
      fail(ErrorCode::kUnsupported, "{} is {}; in Dure's models it is {}", place, value.text(),
           found->second.back());
    }
  }
}

}  // namespace dure
