// quantise/slice.h: a GGUF file of a model's true shapes with noise for weights: what speed is
// measured on where no weights are at hand.
//
// Owns the shapes (K-EXAONE-236B's unless told otherwise), the types of its tensors and the
// writing. Norms are 1, router biases 0; matrices have the root mean square 1 / sqrt(columns), so
// numbers keep their size through the layers and routing is near uniform. No MTP layer, no
// tokenizer
// ("none", as llama.cpp knows it). Not here: the noise (random_rows.h), mixtures (type_choice.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "quantise/type_choice.h"
#include "tensor/device.h"

namespace dure {

struct SliceShape {
  int64_t layers = 3;            // the first dense, the others sparse
  std::string pattern = "LLLG";  // of the layers, repeated: L sliding, G global (no positions)
  int64_t hidden_size = 6144;
  int64_t heads = 64, kv_heads = 8, head_width = 128;
  int64_t dense_width = 18432;
  int64_t experts = 128, experts_per_token = 8, expert_width = 2048, shared_experts = 1;
  int64_t vocabulary = 153600;
  int64_t window_tokens = 128;
  int64_t context_tokens = 262144;
  bool operator==(const SliceShape&) const = default;
};
// Throws kInvalidArgument naming what no model can have.
ModelConfig slice_config(const SliceShape& shape);

// `type`: one type for every matrix ("Q4_K"), or a mixture ("Q4_K_M"). `head_type`: the head's;
// absent: Q6_K under a block type below 8 bits, the matrices' own elsewhere. Throws
// kInvalidArgument with the names that there are.
struct SliceTypes {
  std::vector<TypeChoice> choices;
  int64_t file_type = 0;  // general.file_type
};
SliceTypes slice_types(const ModelConfig& config, const std::string& type,
                       const std::optional<std::string>& head_type);

struct SliceJob {
  ModelConfig config;
  SliceTypes types;
  Path out;
  uint64_t seed = 1;
  int64_t bytes() const;  // of all tensors
};
// A stretch of one tensor is in memory at a time; the file appears under its name when it is whole.
// Throws kNoSpace before the first byte, kInterrupted between stretches. `progress` gets the bytes
// of tensors done so far.
void write_slice(const SliceJob& job, Stream& stream, const std::function<void(int64_t)>& progress);

}  // namespace dure
