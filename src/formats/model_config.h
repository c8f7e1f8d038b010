// formats/model_config.h: what a model is, as facts of each layer; no branches on a model's name
// follow.
//
// Read from and written to Hugging Face config.json (hf_config.h) and GGUF metadata. Every layer
// owns its rotation, widths, routing and activation, so that layers may differ; a family's file
// that says a fact once for all layers gives it to each of them, and common_*() below finds it
// again. The families' values: docs/model.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dure {

// kNone: q and k are not turned (NoPE). kLlama3, kYarn: long wavelengths are rescaled.
enum class RopeKind : uint8_t { kNone, kPlain, kLlama3, kYarn };

// RoPE on q and k after their norms.
struct RopeFacts {
  RopeKind kind = RopeKind::kNone;
  double theta = 1e6;
  double factor = 1;                                           // of the rescaled kinds
  double low_frequency_factor = 1, high_frequency_factor = 4;  // llama3 only
  int64_t original_context_tokens = 0;                         // of the rescaled kinds
  // YaRN only: turns within the original context above which a pair keeps its frequency, and below
  // which it is divided by `factor`; whether the pairs between are counted from whole ones; what
  // sine and cosine are multiplied by.
  double beta_fast = 32, beta_slow = 1;
  bool truncate = true;
  double attention_factor = 1;
  bool operator==(const RopeFacts&) const = default;
};

// How a router's logits become the probabilities that choose and weigh experts. kSoftmax: over all
// experts; with `normalise` that is a softmax over the chosen ones.
enum class RouterScore : uint8_t { kSigmoid, kSoftmax };

struct ExpertFacts {
  int64_t count = 0;         // E
  int64_t per_token = 0;     // K
  int64_t width = 0;         // I of one expert
  int64_t shared_count = 0;  // one shared FFN of width I * this; 0: none
  RouterScore score = RouterScore::kSigmoid;
  bool selection_bias = true;  // added to the probabilities that choose, never to the weights
  bool biases = false;         // of the router's logits and of the experts' three products
  int64_t group_count = 1, groups_kept = 1;
  bool normalise = true;  // the weights of a token's experts, to the sum 1 before `scale`
  double scale = 1;

  int64_t shared_width() const { return width * shared_count; }  // S
  bool operator==(const ExpertFacts&) const = default;
};

// Of SwiGLU, in dense FFNs and in experts.
struct ActivationFacts {
  // c > 0: gate <- min(gate, c), up <- clamp(up, -c, c) before the activation. 0: none.
  double limit = 0;
  double alpha = 1;  // inside the sigmoid: gate * sigmoid(alpha gate) * (up + up_offset)
  double up_offset = 0;
  bool operator==(const ActivationFacts&) const = default;
};

// What attention has beside its window and its rotation.
struct AttentionFacts {
  bool qk_norm = true;  // RMSNorm on each head of q and k
  bool biases = false;  // of the q, k, v and output products
  bool sinks = false;   // a learned logit a head in the softmax's sum
  bool operator==(const AttentionFacts&) const = default;
};

// Norm before each block (exaone_moe), or on its output (EXAONE 4.0).
enum class NormOrder : uint8_t { kPre, kPost };

struct LayerFacts {
  int64_t window_tokens = 0;  // W: a query at p sees keys p-W+1 .. p. 0: global, every key up to p.
  RopeFacts rope;
  AttentionFacts attention;
  bool sparse = false;      // Mixture of experts instead of one dense FFN.
  int64_t dense_width = 0;  // F; read where the layer is dense
  ExpertFacts experts;      // read where it is sparse
  ActivationFacts activation;
  NormOrder norm_order = NormOrder::kPre;

  bool rotary() const { return rope.kind != RopeKind::kNone; }
  bool has_shared_expert() const { return sparse && experts.shared_count > 0; }
  bool operator==(const LayerFacts&) const = default;
};

struct ModelConfig {
  int64_t vocab_size = 0;     // V
  int64_t hidden_size = 0;    // D in the code's shapes: width of the residual stream
  int64_t head_count = 0;     // Q query heads
  int64_t kv_head_count = 0;  // G key/value heads; query head q uses key head q / (Q / G)
  int64_t head_width = 0;     // H; Q * H need not equal D
  double norm_epsilon = 1e-5;
  bool tied_embeddings = false;
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
  int64_t sparse_layer_count() const;
  // The most experts that a layer has; 0 without sparse layers.
  int64_t expert_count_max() const;
  // Facts of layer i; i == layer_count() is the MTP layer (checked: there is one).
  const LayerFacts& layer(int64_t i) const;
  bool operator==(const ModelConfig&) const = default;
};

// What files of the family say once: the facts of the first layer that uses them (the MTP layer
// comes last), or those that the first layer carries unused where none does.
const RopeFacts& common_rope(const ModelConfig& config);
const ExpertFacts& common_experts(const ModelConfig& config);
int64_t common_dense_width(const ModelConfig& config);
// Throws kUnsupported, naming `format`, where layers that use one of these differ in it.
void check_common_facts(const ModelConfig& config, const std::string& format);

// Throws kInvalidArgument naming the field, for values no model can have (heads that do not divide,
// K > E, ...).
void check_config(const ModelConfig& config, const std::string& where);

}  // namespace dure
