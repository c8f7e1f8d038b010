// model/base_weights.h: a model's weights without their adapter, where they are.
//
// Not here: adapters (adapter.h), weights (weights.h).
#pragma once

#include "model/weights.h"

namespace dure {

// The same tensors, in place: nothing but the tables of positions is made. `weights` must outlive
// them.
ModelWeights base_of(const ModelWeights& weights, Stream& stream);

}  // namespace dure
