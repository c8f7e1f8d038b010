// cli/convert_model.h: a model from one container into the other: Hugging Face folder <-> GGUF, and
// either to itself.
//
// Weights keep their stored type unless a plain type is asked for; what a container cannot hold is
// decoded (blocks in a folder become F32, exactly). One tensor, or one expert, in memory at a time.
// Not here: quantising (quantise/).
#pragma once

#include <optional>

#include "formats/gguf.h"
#include "formats/model_files.h"

namespace dure {

struct ConvertOptions {
  std::optional<DType> dtype;  // F32, F16 or BF16 for all weights
  int64_t part_bytes_max = 0;  // of one file; 0: one GGUF file, shards of 5 GB
};

void convert_to_folder(const ModelFiles& files, const Path& out, const ConvertOptions& options);
void convert_to_gguf(const ModelFiles& files, const Path& out, const ConvertOptions& options);

// All keys of a GGUF file for this model but general.file_type: configuration, name, tokenizer,
// chat template, sampling.
GgufMetadata gguf_metadata_of(const ModelFiles& files);

}  // namespace dure
