// llama.cpp's architectures "qwen3moe" and "gpt-oss": what their keys say of the layers, and what
// the architectures fix without a key. Source: llama.cpp, src/models/qwen3moe.cpp, openai-moe.cpp,
// llama-graph.cpp (alpha, limit), llama-context.cpp (YaRN).
#include <algorithm>
#include <cmath>

#include "formats/gguf_keys.h"
#include "formats/hf_config_parts.h"

namespace dure {
namespace {

constexpr double kAlpha = 1.702, kLimit = 7, kUpOffset = 1;  // fixed in llama.cpp
constexpr char kTruncate[] = "dure.rope_truncate";

// Keys that a file of the architecture may have at the values it computes with.
void expect_number(const GgufKeys& k, const char* key, std::initializer_list<double> allowed) {
  const GgufValue* value = k.find(key);
  if (value == nullptr) return;
  const double number = value->as_double(k.place(key));
  if (std::find(allowed.begin(), allowed.end(), number) == allowed.end())
    fail(ErrorCode::kUnsupported, "{} is {}; the architecture has {}", k.place(key), number,
         *allowed.begin());
}

// 1: softmax over all; 3: over the chosen, which is the same where weights are normalised.
void expect_softmax(const GgufKeys& k) {
  expect_number(k, "expert_gating_func", {1, 3, 0});
  expect_number(k, "expert_weights_scale", {1, 0});
  if (k.find("expert_weights_norm") != nullptr && !k.boolean("expert_weights_norm"))
    fail(ErrorCode::kUnsupported, "{} is false; the architecture normalises the weights",
         k.place("expert_weights_norm"));
  expect_number(k, "expert_shared_count", {0});
  expect_number(k, "expert_shared_feed_forward_length", {0});
  expect_number(k, "expert_group_count", {0, 1});
  expect_number(k, "leading_dense_block_count", {0});
  expect_number(k, "nextn_predict_layers", {0});
}

ExpertFacts read_experts(const GgufKeys& k) {
  expect_softmax(k);
  return {.count = k.integer("expert_count"),
          .per_token = k.integer("expert_used_count"),
          .width = k.integer("expert_feed_forward_length"),
          .score = RouterScore::kSoftmax,
          .selection_bias = false};
}

// Every second layer slides, the first one too, unless the file says which.
std::vector<bool> sliding_layers(const GgufKeys& k, int64_t count) {
  const char* key = "attention.sliding_window_pattern";
  std::vector<bool> out(static_cast<size_t>(count));
  const GgufValue* pattern = k.find(key);
  const bool listed = pattern != nullptr && pattern->is_array();
  const int64_t period = pattern == nullptr || listed ? 2 : pattern->as_int(k.place(key));
  const std::vector<int64_t> flags = listed ? k.integers(key, count) : std::vector<int64_t>();
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = listed ? flags[i] != 0 : period > 0 && (static_cast<int64_t>(i) + 1) % period != 0;
  }
  return out;
}

void write_experts(const ExpertFacts& e, const std::string& p, GgufMetadata& out) {
  out.set(p + "expert_count", GgufValue::u32(e.count));
  out.set(p + "expert_used_count", GgufValue::u32(e.per_token));
  out.set(p + "expert_feed_forward_length", GgufValue::u32(e.width));
}

void write_rope(const RopeFacts& rope, const std::string& architecture, const std::string& p,
                GgufMetadata& out) {
  if (rope.kind == RopeKind::kLlama3)
    fail(ErrorCode::kUnsupported, "GGUF's {} has no llama3 scaling of RoPE", architecture);
  if (rope.kind != RopeKind::kYarn)
    return out.set(p + "rope.scaling.type", GgufValue::string("none"));
  const double usual = yarn_attention_factor(rope.factor);
  out.set(p + "rope.scaling.type", GgufValue::string("yarn"));
  out.set(p + "rope.scaling.factor", GgufValue::f32(rope.factor));
  out.set(p + "rope.scaling.original_context_length", GgufValue::u32(rope.original_context_tokens));
  out.set(p + "rope.scaling.yarn_beta_fast", GgufValue::f32(rope.beta_fast));
  out.set(p + "rope.scaling.yarn_beta_slow", GgufValue::f32(rope.beta_slow));
  if (rope.attention_factor != usual)
    out.set(p + "rope.scaling.attn_factor", GgufValue::f32(rope.attention_factor / usual));
  // llama.cpp rounds the pairs between which YaRN blends, whatever the model was trained with.
  if (!rope.truncate) out.set(kTruncate, GgufValue::boolean(false));
}

[[noreturn]] void refuse(const char* architecture, int64_t layer, const char* what) {
  fail(ErrorCode::kUnsupported, "GGUF's {} cannot say that layer {} {}", architecture, layer, what);
}

void check_qwen3moe_layer(const LayerFacts& layer, int64_t i) {
  const char* name = "qwen3moe";
  if (!layer.sparse) refuse(name, i, "is dense");
  if (!layer.rotary()) refuse(name, i, "has no RoPE");
  if (layer.window_tokens > 0) refuse(name, i, "has a window");
  if (!layer.experts.normalise || layer.experts.scale != 1)
    refuse(name, i, "has weights of experts that do not sum to 1");
  if (layer.experts.shared_count > 0 || layer.experts.selection_bias || layer.experts.biases)
    refuse(name, i, "has a shared expert or biases of experts");
  if (!(layer.attention == AttentionFacts{})) refuse(name, i, "has biases, or no norm of heads");
  if (!(layer.activation == ActivationFacts{})) refuse(name, i, "has another SwiGLU");
}

void check_gpt_oss_layer(const LayerFacts& layer, int64_t i) {
  const char* name = "gpt-oss";
  if (!layer.sparse) refuse(name, i, "is dense");
  if (!layer.rotary()) refuse(name, i, "has no RoPE");
  if (!layer.experts.normalise || layer.experts.scale != 1 || !layer.experts.biases ||
      layer.experts.selection_bias || layer.experts.shared_count > 0)
    refuse(name, i, "has another router or other experts");
  const AttentionFacts wanted{.qk_norm = false, .biases = true, .sinks = true};
  if (!(layer.attention == wanted)) refuse(name, i, "has no sinks or no biases of attention");
  const ActivationFacts activation{.limit = kLimit, .alpha = kAlpha, .up_offset = kUpOffset};
  if (!(layer.activation == activation))
    refuse(name, i, "has another SwiGLU than limit 7, alpha 1.702");
}

}  // namespace

RopeFacts read_gguf_yarn(const GgufKeys& k, int64_t context_tokens) {
  RopeFacts rope{.kind = RopeKind::kPlain, .theta = k.number("rope.freq_base")};
  const GgufValue* type = k.find("rope.scaling.type");
  const std::string name = type == nullptr ? "none" : type->as_string(k.place("rope.scaling.type"));
  if (name != "yarn") {
    if (name != "none" && name != "linear")
      fail(ErrorCode::kUnsupported, "{} is '{}'; known are 'none' and 'yarn'",
           k.place("rope.scaling.type"), name);
    if (name == "linear" || type == nullptr) expect_number(k, "rope.scaling.factor", {1, 0});
    expect_number(k, "rope.scaling.attn_factor", {1, 0});
    return rope;
  }
  rope.kind = RopeKind::kYarn;
  rope.factor = k.number("rope.scaling.factor");
  rope.original_context_tokens = k.integer("rope.scaling.original_context_length", context_tokens);
  const auto number = [&](const char* key, double otherwise) {
    return k.find(key) == nullptr ? otherwise : k.number(key);
  };
  rope.beta_fast = number("rope.scaling.yarn_beta_fast", 32);
  rope.beta_slow = number("rope.scaling.yarn_beta_slow", 1);
  const double times = number("rope.scaling.attn_factor", 1);
  rope.attention_factor = yarn_attention_factor(rope.factor) * (times == 0 ? 1 : times);
  if (number("rope.scaling.yarn_ext_factor", 1) != 1)
    fail(ErrorCode::kUnsupported, "{} is {}; only 1 is known",
         k.place("rope.scaling.yarn_ext_factor"), number("rope.scaling.yarn_ext_factor", 1));
  if (const GgufValue* whole = k.global(kTruncate)) rope.truncate = whole->as_bool(kTruncate);
  return rope;
}

void read_gguf_qwen3moe(const GgufKeys& k, const LayerFacts& each, ModelConfig& c) {
  LayerFacts layer = each;
  layer.sparse = true;
  layer.experts = read_experts(k);
  expect_number(k, "attention.sliding_window", {0});
  c.layers.assign(static_cast<size_t>(gguf_layer_count(k, 0)), layer);
}

void read_gguf_gpt_oss(const GgufKeys& k, const LayerFacts& each, ModelConfig& c) {
  LayerFacts layer = each;
  layer.sparse = true;
  layer.experts = read_experts(k);
  layer.experts.biases = true;
  layer.attention = {.qk_norm = false, .biases = true, .sinks = true};
  layer.activation = {.limit = kLimit, .alpha = kAlpha, .up_offset = kUpOffset};
  c.layers.assign(static_cast<size_t>(gguf_layer_count(k, 0)), layer);
  const int64_t window = k.integer("attention.sliding_window");
  const std::vector<bool> sliding = sliding_layers(k, c.layer_count());
  for (size_t i = 0; i < c.layers.size(); ++i) {
    if (sliding[i] && window < 1)
      fail(ErrorCode::kInvalidArgument, "{} is {}, but layer {} is sliding",
           k.place("attention.sliding_window"), window, i);
    c.layers[i].window_tokens = sliding[i] ? window : 0;
  }
}

void write_gguf_qwen3moe(const ModelConfig& c, const std::string& prefix, GgufMetadata& out) {
  for (int64_t i = 0; i < c.layer_count(); ++i) check_qwen3moe_layer(c.layer(i), i);
  write_rope(common_rope(c), "qwen3moe", prefix, out);
  write_experts(common_experts(c), prefix, out);
}

void write_gguf_gpt_oss(const ModelConfig& c, const std::string& prefix, GgufMetadata& out) {
  std::vector<int64_t> sliding;
  int64_t window = 0;
  for (int64_t i = 0; i < c.layer_count(); ++i) {
    const LayerFacts& layer = c.layer(i);
    check_gpt_oss_layer(layer, i);
    if (layer.window_tokens > 0 && window > 0 && layer.window_tokens != window)
      refuse("gpt-oss", i, "has another window than the others");
    window = std::max(window, layer.window_tokens);
    sliding.push_back(layer.window_tokens > 0);
  }
  write_rope(common_rope(c), "gpt-oss", prefix, out);
  write_experts(common_experts(c), prefix, out);
  out.set(prefix + "attention.sliding_window", GgufValue::u32(window));
  out.set(prefix + "attention.sliding_window_pattern",
          GgufValue::ints(GgufType::kBool, std::move(sliding)));
}

}  // namespace dure
