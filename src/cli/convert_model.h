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
#include "model/merge.h"

namespace dure {

struct ConvertOptions {
  std::optional<DType> dtype;        // F32, F16 or BF16 for all weights
  int64_t part_bytes_max = 0;        // of one file; 0: one GGUF file, shards of 5 GB
  bool replace = false;              // what is there under a name that is written
  AdapterMerger* adapter = nullptr;  // folded into the matrices it adds to
};

// Return the files of weights that they wrote. Throw kInvalidArgument, before anything is written,
// for a file of the model's own (also with `replace`) and for one that is there (without).
std::vector<Path> convert_to_folder(const ModelFiles& files, const Path& out,
                                    const ConvertOptions& options);
std::vector<Path> convert_to_gguf(const ModelFiles& files, const Path& out,
                                  const ConvertOptions& options);
// That check, for one file.
void check_replaceable(const ModelFiles& files, const Path& out, bool replace);

// All keys of a GGUF file for this model but general.file_type: configuration, name, tokenizer,
// chat template, sampling.
GgufMetadata gguf_metadata_of(const ModelFiles& files);

}  // namespace dure
