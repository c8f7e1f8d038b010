// formats/model_config.h: what a model of the family is, as facts of each layer; no branches on a
// model's name follow.
//
// Read from and written to Hugging Face config.json (hf_config.h) and GGUF metadata. A second
// family (Qwen3-MoE, GPT-OSS) joins by other values or new fields of these structs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dure {

struct RopeFacts {
  double theta = 1e6;
  std::string scaling = "default";                                         // "default" or "llama3"
  double factor = 1, low_frequency_factor = 1, high_frequency_factor = 4;  // llama3 only
  int64_t original_context_tokens = 0;                                     // llama3 only
  bool operator==(const RopeFacts&) const = default;
};

// Norm before each block (exaone_moe), or on its output (EXAONE 4.0).
enum class NormOrder : uint8_t { kPre, kPost };

struct LayerFacts {
  int64_t window_tokens = 0;  // W: a query at p sees keys p-W+1 .. p. 0: global, every key up to p.
  bool rotary = false;        // RoPE on q and k after their norms.
  bool sparse = false;        // Mixture of experts instead of one dense FFN.
  // c > 0: gate <- min(gate, c), up <- clamp(up, -c, c) before the activation. 0: none.
  double swiglu_limit = 0;
  NormOrder norm_order = NormOrder::kPre;
  bool operator==(const LayerFacts&) const = default;
};

struct ModelConfig {
  int64_t vocab_size = 0;           // V
  int64_t hidden_size = 0;          // D in the code's shapes: width of the residual stream
  int64_t head_count = 0;           // Q query heads
  int64_t kv_head_count = 0;        // G key/value heads; query head q uses key head q / (Q / G)
  int64_t head_width = 0;           // H; Q * H need not equal D
  int64_t dense_width = 0;          // F of dense layers and of the MTP layer
  int64_t expert_width = 0;         // I of one expert
  int64_t expert_count = 0;         // E
  int64_t experts_per_token = 0;    // K
  int64_t shared_expert_count = 0;  // one shared FFN of width I * this; 0: none
  int64_t expert_group_count = 1, expert_groups_kept = 1;
  bool normalise_expert_weights = true;
  double routed_scale = 1;
  double norm_epsilon = 1e-5;
  bool tied_embeddings = false;
  RopeFacts rope;
  std::vector<LayerFacts> layers;  // L entries

  int64_t mtp_layer_count = 0;  // 0 or 1 physical layer, dense
  LayerFacts mtp_layer;         // default global, no RoPE
  int64_t mtp_steps = 1;        // draft steps served by repeating it

  int64_t context_tokens = 2048;  // max_position_embeddings
  double initializer_range = 0.02;
  int64_t bos_token = 1, pad_token = 0;
  std::vector<int64_t> eos_tokens = {2};
  std::string dtype = "float32";  // as the file says: "bfloat16", "float32", ...

  int64_t layer_count() const { return static_cast<int64_t>(layers.size()); }
  int64_t shared_width() const { return expert_width * shared_expert_count; }
  int64_t sparse_layer_count() const;
  // Facts of layer i; i == layer_count() is the MTP layer (checked: there is one).
  const LayerFacts& layer(int64_t i) const;
  bool operator==(const ModelConfig&) const = default;
};

// Throws kInvalidArgument naming the field, for values no model can have (heads that do not divide,
// K > E, ...).
void check_config(const ModelConfig& config, const std::string& where);

}  // namespace dure
