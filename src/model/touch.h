// model/touch.h: every page of a model's matrices read once, in the order of its layers: after it,
// the first token costs what the second does.
//
// Not here: what reading a page is (kernels/touch.h), opening (load.h).
#pragma once

#include <cstdint>
#include <functional>

#include "model/weights.h"

namespace dure {

int64_t touch_bytes(const ModelWeights& weights);  // Of all matrices and stacks.
// `progress` gets the bytes done so far, matrix by matrix. Throws kInterrupted between two.
void touch_weights(const ModelWeights& weights, Stream& stream,
                   const std::function<void(int64_t)>& progress);

}  // namespace dure
