// formats/gguf_model.h: GGUF metadata and tensor names <-> ModelConfig (docs/gguf.md).
//
// Architecture "exaone-moe" is llama.cpp's. What it cannot say (several windows, SwiGLU clamps,
// dense layers elsewhere than in front, no sliding layer at all) is written under "dure-exaone-moe"
// with per-layer keys: other engines then refuse the file instead of running another model. Facts
// that llama.cpp does not use go into "dure.*" keys of either. Not here: tokenizer.* (text/ and
// cli/), the container (gguf.h).
#pragma once

#include <string>

#include "formats/gguf.h"
#include "formats/model_config.h"
#include "formats/tensor_names.h"

namespace dure {

// Throws kUnsupported for another architecture, kNotFound naming a missing key (also those without
// which llama.cpp loads and computes something else), kInvalidArgument for a value of the wrong
// kind. Tokens come from tokenizer.ggml.*.
ModelConfig parse_gguf_config(const GgufFile& file);

// general.architecture, general.type and the architecture's keys; the caller adds names, file type
// and tokenizer. Throws kUnsupported for post-norm models and scaled RoPE.
GgufMetadata gguf_config(const ModelConfig& config);

bool is_plain_exaone_moe(const ModelConfig& config);  // True where "exaone-moe" can say everything.

// The tensor that holds `id`; experts of a layer are one stack. Shapes are tensor_shape() with
// expert = -1.
std::string gguf_name(TensorId id, const ModelConfig& config);

// Every tensor of the file in llama.cpp's order of layers: ids with expert = -1.
std::vector<TensorId> gguf_tensors(const ModelConfig& config);

// True for the tensors that are F32 in every file type: norms, router and its bias.
bool gguf_always_f32(TensorRole role);

// general.file_type for files whose matrices are mostly of this type.
int64_t gguf_file_type(DType dtype);

}  // namespace dure
