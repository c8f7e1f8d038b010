// model/fingerprint.h: whether two runs have the same model: its configuration, and for each tensor
// type, arithmetic and samples of its bytes.
//
// For files that only serve the model they were made with (engine/prefix_file.h). Two models that
// differ in a few numbers alone may look the same (kernels/fingerprint.h says why).
#pragma once

#include <cstdint>

#include "model/weights.h"

namespace dure {

uint64_t model_fingerprint(const ModelWeights& weights, Stream& stream);

}  // namespace dure
