// formats/gguf_model.h: GGUF metadata <-> ModelConfig (docs/gguf.md).
//
// Architectures "exaone-moe", "qwen3moe" and "gpt-oss" are llama.cpp's; the last two by their own
// file (gguf_families.cc). What "exaone-moe" cannot say (several windows, SwiGLU clamps,
// dense layers elsewhere than in front, no sliding layer at all) is written under "dure-exaone-moe"
// with per-layer keys: other engines then refuse the file instead of running another model. Facts
// that llama.cpp does not use go into "dure.*" keys of either. Not here: names of tensors
// (tensor_names.h), tokenizer.* (data/model_texts.h), the container (gguf.h).
#pragma once

#include <map>
#include <optional>
#include <string>

#include "formats/gguf.h"
#include "formats/model_config.h"

namespace dure {

// Throws kUnsupported for another architecture, kNotFound naming a missing key (also those without
// which llama.cpp loads and computes something else), kInvalidArgument for a value of the wrong
// kind. Tokens come from tokenizer.ggml.*.
ModelConfig parse_gguf_config(const GgufFile& file);

// general.architecture, general.type and the architecture's keys; the caller adds names, file type
// and tokenizer. Throws kUnsupported for a post-norm MTP layer, and for layers that differ in what
// the keys say once (check_common_facts()).
GgufMetadata gguf_config(const ModelConfig& config);

bool is_gguf_architecture(const std::string& name);  // One that parse_gguf_config() reads.

// Throws kUnsupported where no architecture can say the layers.
std::string gguf_architecture(const ModelConfig& config);
// False for this program's own architecture.
bool other_programs_know(const ModelConfig& config);
bool is_plain_exaone_moe(const ModelConfig& config);  // True where "exaone-moe" can say everything.

// general.file_type for files whose matrices are mostly of this type.
int64_t gguf_file_type(DType dtype);

// The chat templates, by name: tokenizer.chat_template is "default", tokenizer.chat_template.NAME
// the others, which tokenizer.chat_templates lists. Throws kInvalidArgument naming file and key.
std::map<std::string, std::string> gguf_templates(const GgufMetadata& metadata,
                                                  const std::string& file);
// `unnamed`: the default, may be absent. Letters of a name that a key cannot have become '_'.
void write_gguf_templates(const std::optional<std::string>& unnamed,
                          const std::map<std::string, std::string>& more, GgufMetadata& out);

}  // namespace dure
