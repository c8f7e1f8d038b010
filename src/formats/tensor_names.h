// formats/tensor_names.h: the tensors that a configuration implies: role, Hugging Face name, shape;
// and their counts.
//
// With this list a missing, extra or mis-shaped tensor is named before anything runs. GGUF names:
// gguf_model.h. Not here: where the bytes are (model_files.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/model_config.h"
#include "tensor/tensor_view.h"

namespace dure {

enum class TensorRole : uint8_t {
  kEmbedding,  // [V, D]
  kHead,       // [V, D]; absent where tied
  kFinalNorm,  // [D]
  kAttentionNorm,
  kFfnNorm,  // [D], before the block, or on its output (NormOrder::kPost)
  kQ,        // [Q*H, D]
  kK,
  kV,  // [G*H, D]
  kO,  // [D, Q*H]
  kQNorm,
  kKNorm,  // [H]
  kGate,
  kUp,
  kDown,  // [F, D], [F, D], [D, F]: a dense layer
  kRouter,
  kRouterBias,  // [E, D], [E] (always F32)
  kExpertGate,
  kExpertUp,
  kExpertDown,  // [I, D], [I, D], [D, I]: one expert; a stack adds [E, ...] in front
  kSharedGate,
  kSharedUp,
  kSharedDown,  // the same with I * shared experts
  kMtpFc,       // [D, 2D], embedding half first
  kMtpEmbeddingNorm,
  kMtpHiddenNorm,
  kMtpNorm  // [D]
};
const char* role_name(TensorRole role);  // "expert gate"
bool is_expert(TensorRole role);         // kExpertGate, kExpertUp, kExpertDown

// The layer is -1 for tensors outside layers; config.layer_count() is the MTP layer. The expert is
// -1 except for expert roles (where -1 means the whole stack).
struct TensorId {
  TensorRole role = TensorRole::kEmbedding;
  int64_t layer = -1, expert = -1;
  bool operator==(const TensorId&) const = default;
};

struct ImpliedTensor {
  TensorId id;
  std::string name;  // Hugging Face's, one tensor per expert
  Shape shape;
  bool always_f32 = false;  // the router's bias
};

// In the order of the forward pass; experts one by one; MTP last.
std::vector<ImpliedTensor> implied_tensors(const ModelConfig& config);

std::string hf_name(TensorId id, const ModelConfig& config);
Shape tensor_shape(TensorId id,
                   const ModelConfig& config);  // Of one expert, or the stack where expert is -1.

// Names under which older or newer files hold the same tensor, most usual first; the canonical one
// is not repeated.
std::vector<std::string> hf_other_names(TensorId id, const ModelConfig& config);

struct ModelCounts {
  int64_t tensors = 0;
  int64_t parameters = 0;  // all, MTP included
  int64_t mtp_parameters = 0;
  int64_t active = 0;  // that one token meets in the main model, its embedding table included
  int64_t active_without_embedding = 0;
  int64_t bytes_16bit = 0;  // payload with 2-byte weights and the router bias in F32
};
ModelCounts count_model(const ModelConfig& config);

}  // namespace dure
