// formats/hf_config.h: config.json <-> ModelConfig: every spelling the family's files use
// (docs/config.md).
//
// A field that could change the computation and is not known is refused by name: a model read
// without its windows or clamps would run, and be another model. Not here: whether the weights
// agree (model_files.h).
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "formats/model_config.h"

namespace dure {

// `where` names the file in messages. `mtp_tensors_present` decides num_nextn_predict_layers where
// the file is silent about it (the first K-EXAONE upload was). Throws kInvalidArgument or
// kUnsupported naming the field.
ModelConfig parse_hf_config(const Json& json, const std::string& where,
                            bool mtp_tensors_present = false);

// The newest spelling, which transformers, vLLM and llama.cpp's converter read. parse(write(c)) ==
// c, but for facts that a layer carries and does not use. Throws kUnsupported for what config.json
// cannot say (such as RoPE on one global layer only, or layers with different experts).
Json write_hf_config(const ModelConfig& config);

}  // namespace dure
