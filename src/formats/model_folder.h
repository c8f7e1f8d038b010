// formats/model_folder.h: where a model's folder is and what stands in it, before its weights are
// opened: a repo in the Hugging Face cache, and folders that are none of a model's and why.
//
// find_model() is declared in model_files.h; it also says of what runs leave around a model (the
// run's own folder, its checkpoints, its corpus) where the model is. Not here: what the weights
// mean (model_files.h).
#pragma once

#include <string>

#include "base/file.h"
#include "base/json.h"
#include "formats/tensor_source.h"

namespace dure {

// Throws naming what the folder is instead of a model's: an adapter, PyTorch pickles only, shards
// without their index, GGUF files, the cache's folder of all snapshots, two sets of weights. Warns
// about shards that the index does not name.
void check_model_folder(const Path& folder);

// Whether weights of any kind are in it, also such that Dure does not read.
bool holds_weights(const Path& folder);

// Whether two tensors hold the same numbers; true where their bytes are not there to compare. False
// for different types unless both are plain.
bool same_numbers(const TensorSource& source, size_t a, size_t b);

// "; quantization_config says 'gptq'" for a method whose weights Dure does not read, else nothing.
std::string quantiser_text(const Json& config);

}  // namespace dure
