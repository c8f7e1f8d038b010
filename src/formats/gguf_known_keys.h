// formats/gguf_known_keys.h: keys of an architecture that nobody reads: which change nothing, which
// only at one value, and the refusal of all others, as hf_known_fields.h does for config.json.
#pragma once

#include <string>

#include "formats/gguf.h"
#include "formats/model_config.h"

namespace dure {

// Throws kUnsupported naming file and key, for the first key under `prefix` ("exaone-moe.") that
// may change the arithmetic and is not what the model computes. Of `config` the heads' width, the
// norms' epsilon and the layers' theta are read.
void check_gguf_keys(const GgufMetadata& metadata, const std::string& prefix, double theta,
                     const ModelConfig& config, const std::string& file);

}  // namespace dure
