// formats/hf_family.h: which family's config.json says a model, by its facts, and what that file
// calls it. Only formats/ asks: below, layers have facts.
#pragma once

#include "formats/model_config.h"

namespace dure {

enum class HfFamily : uint8_t { kExaoneMoe, kExaone4, kQwen3Moe, kGptOss };

struct HfFamilyNames {
  HfFamily family;
  const char* model_type;    // "qwen3_moe"
  const char* architecture;  // "Qwen3MoeForCausalLM"
  const char* gguf_name;     // "qwen3moe", as llama.cpp calls it
};
const HfFamilyNames& hf_family_names(HfFamily family);

// The one whose files could say these layers, if any can: sinks are GPT-OSS's, a softmax router
// Qwen3-MoE's, norms on the outputs EXAONE 4.0's.
HfFamily hf_family_of(const ModelConfig& config);

// True for a layer with no fact beyond those of exaone_moe and exaone4.
bool is_exaone_layer(const LayerFacts& layer);

// The layers without what they carry and do not use: equal where the models are.
std::vector<LayerFacts> used_facts(const ModelConfig& config);

}  // namespace dure
