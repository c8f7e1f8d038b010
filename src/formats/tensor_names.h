// formats/tensor_names.h: every tensor of a model, from one table: what it is for, its names in
// Hugging Face's and GGUF's spelling, its shape, and which layers have it; and their counts.
//
// The only list of tensors in the tree: files are checked against it (a missing, extra or
// mis-shaped tensor is named before anything runs), and model/tensors.h binds its fields by role.
// Another family joins by rows of the table and by facts of its layers (model_config.h). Not here:
// where the bytes are (model_files.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/model_config.h"
#include "tensor/tensor_view.h"

namespace dure {

// Shapes and names stand in the table of tensor_names.cc.
enum class TensorRole : uint8_t {
  kEmbedding,
  kAttentionNorm,
  kQ,
  kK,
  kV,
  kO,
  kQBias,
  kKBias,
  kVBias,
  kOBias,
  kQNorm,
  kKNorm,
  kSinks,
  kAttentionOutputNorm,
  kFfnNorm,
  kGate,
  kUp,
  kDown,
  kRouter,
  kRouterLogitBias,
  kRouterBias,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kExpertGateBias,
  kExpertUpBias,
  kExpertDownBias,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kFfnOutputNorm,
  kFinalNorm,
  kHead,
  kMtpFc,
  kMtpEmbeddingNorm,
  kMtpHiddenNorm,
  kMtpNorm,
};

enum class TensorKind : uint8_t {
  kEmbedding,   // [V, D]
  kHead,        // [V, D]
  kMatrix,      // [N, K]
  kExperts,     // [E, N, K]
  kRouter,      // [E, D]
  kNorm,        // [C]
  kBias,        // [C], or [E, C]: of products, and sinks
  kRouterBias,  // [E]: moved by its own rule, never by a gradient; F32 in every file
  kAdapter,     // [R, K] or [N, R]: a factor of a low-rank addition to a matrix; no role has it
};

const char* role_name(TensorRole role);  // "expert gate"
TensorKind role_kind(TensorRole role);
bool is_expert(TensorRole role);  // Of kind kExperts.
bool is_vector(TensorKind kind);  // Norms and biases: read as f32, never multiplied with.

// The layer is -1 for tensors outside layers; config.layer_count() is the MTP layer and what stands
// around it. The expert is -1 except for expert roles (where -1 means the whole stack).
struct TensorId {
  TensorRole role = TensorRole::kEmbedding;
  int64_t layer = -1, expert = -1;
  bool operator==(const TensorId&) const = default;
};

struct ImpliedTensor {
  TensorId id;
  std::string name;  // hf_name()
  Shape shape;       // tensor_shape()
  TensorKind kind = TensorKind::kMatrix;
  bool always_f32() const { return kind == TensorKind::kRouterBias; }
  bool trainable() const { return kind != TensorKind::kRouterBias; }
};

// In the order of a file: embedding, layers, final norm, head (unless tied), MTP. implied_tensors()
// has experts one by one, as Hugging Face files do; implied_stacks() one stack of all experts, as
// GGUF files and the model do.
std::vector<ImpliedTensor> implied_tensors(const ModelConfig& config);
std::vector<ImpliedTensor> implied_stacks(const ModelConfig& config);

// "model.layers.3.mlp.experts.5.up_proj.weight"; of a stack
// "model.layers.3.mlp.experts.up_proj.weight".
std::string hf_name(TensorId id, const ModelConfig& config);
// "blk.3.ffn_up_exps.weight": the tensor that holds `id`; experts of a layer are one stack.
std::string gguf_name(TensorId id, const ModelConfig& config);
Shape tensor_shape(TensorId id, const ModelConfig& config);  // Of one expert, or of the stack.

// hf_name() of experts and their biases where a family's files pack them (hf_packing.h) is this
// program's own: no file has it.
//
// Names under which older or newer files hold the same tensor, most usual first; the canonical one
// is not repeated.
std::vector<std::string> hf_other_names(TensorId id, const ModelConfig& config);

// True for the tensors that are F32 in every GGUF file: norms, biases, router.
bool gguf_always_f32(TensorRole role);

// Where each tensor of a list stands in it, by id: a table, so that nobody searches names.
class TensorIndex {
 public:
  void add(TensorId id, size_t place);  // Checked: the id is new.
  std::optional<size_t> find(TensorId id) const;

 private:
  using Places = std::vector<std::optional<uint32_t>>;  // by expert + 1
  std::vector<Places> table_;                           // by layer + 1, then role
};

struct ModelCounts {
  int64_t tensors = 0;     // of a Hugging Face folder
  int64_t parameters = 0;  // all, MTP included
  int64_t mtp_parameters = 0;
  int64_t active = 0;  // that one token meets in the main model, its embedding table included
  int64_t active_without_embedding = 0;
  int64_t bytes_16bit = 0;  // payload with 2-byte weights and the router bias in F32
};
ModelCounts count_model(const ModelConfig& config);

}  // namespace dure
