// formats/adapter_files.h: adapters on disk: PEFT folders and GGUF adapters, read and written.
//
// PEFT (0.21): adapter_config.json (r, lora_alpha, use_rslora, rank_pattern, alpha_pattern,
// target_modules, target_parameters) and adapter_model.safetensors with
//   base_model.model.model.layers.N.self_attn.q_proj.lora_A.weight [R, K], ...lora_B.weight [N, R]
// and for the 3-D experts, which PEFT wraps by parameter (target_parameters), on `mlp.experts`:
// lora_A [E*R, K], row e*R + r, and lora_B [N, R*E], column r*E + e. Where gate_up_proj and
// down_proj are both wrapped, gate_up_proj is the inner wrapper (".base_layer" in the name).
// GGUF, as llama.cpp loads it: general.type "adapter", adapter.type "lora", adapter.lora.alpha, and
// for a base tensor NAME two: NAME.lora_a [R, K] or [E, R, K], NAME.lora_b [N, R] or [E, N, R]; its
// scale is alpha / R, or 1 where alpha is 0. Page: docs/adapters.md. Not here: arithmetic (model/).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "formats/adapter_layout.h"

namespace dure {

// The two factors of one target, rank first, in f32. `down` is empty where the target shares it.
struct AdapterFactors {
  std::vector<float> down, up;
};

struct AdapterContent {
  AdapterLayout layout;
  std::vector<AdapterFactors> factors;  // Parallel to layout.
  std::string base;                     // the base as the file names it; may be empty
};

// True for a folder with adapter_config.json, or a GGUF file whose general.type is "adapter".
bool is_adapter(const Path& path);

// Reads either kind for a model of configuration `base`. Throws kNotFound, kCorrupt,
// kInvalidArgument or kUnsupported with one line that names the file, the tensor or field, and what
// was expected: a rank that is not the configuration's, a shape that is not the base's, a factor
// without its other, factors of unlike types, a target that the base does not have, and kinds of
// adapter that are not read (DoRA, biases, modules_to_save, packed experts).
AdapterContent read_adapter(const Path& path, const ModelConfig& base);
// The adapter that a run with `options` goes on training (options.from). Throws as read_adapter()
// and require_lora() do.
AdapterContent read_adapter_to_train(const LoraOptions& options, const ModelConfig& base,
                                     const std::string& source);
// Of a new adapter, or of the one that is there: adapter_layout(), or read_adapter_to_train(); what
// a run can save (require_plain_experts()).
AdapterLayout trained_layout(const LoraOptions& options, const ModelConfig& base,
                             const std::string& source);

struct AdapterWriteOptions {
  std::string base;  // written as base_model_name_or_path, or general.base_model.0.name
};

// A folder that PEFT's PeftModel.from_pretrained() opens. Appears whole or not at all, and replaces
// one of that name. Throws kUnsupported where PEFT cannot say it (targets of one name and several
// ranks are said by rank_pattern).
void write_peft_adapter(const Path& folder, const ModelConfig& config,
                        const AdapterContent& adapter, const AdapterWriteOptions& options);
// Its two files one by one, for who fills a folder of his own.
std::string peft_adapter_config(const ModelConfig& config, const AdapterContent& adapter,
                                const AdapterWriteOptions& options);
void write_peft_tensors(const Path& file, const ModelConfig& config, const AdapterContent& adapter);
// One file for llama.cpp's --lora. A shared `down` is written for each of its targets. GGUF has one
// alpha: targets whose scales differ from it are written with their `up` multiplied by the ratio.
void write_gguf_adapter(const Path& file, const ModelConfig& config, const AdapterContent& adapter,
                        const AdapterWriteOptions& options);

}  // namespace dure
