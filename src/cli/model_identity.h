// cli/model_identity.h: what makes a model's answers its own: a hash of its files, and its shape
// for a reader.
//
// Not here: what else answers depend on (suites, seeds).
#pragma once

#include <string>

#include "base/json.h"
#include "formats/model_files.h"

namespace dure {

// Of weights, tokenizer, template and configuration: the same bytes, the same text.
std::string model_files_hash(const ModelFiles& files);

// Parameters, layers, heads, experts: fields as docs/evaluation.md names them.
Json shape_of(const ModelConfig& config);

}  // namespace dure
