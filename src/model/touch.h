// model/touch.h: every page of a model's weights read once, in order.
//
// A mapped file costs a page fault at the first touch of each page, and the disk where the page is
// not in memory: what is measured after this measures neither. Not here: opening (load.h).
#pragma once

#include <cstdint>
#include <functional>

#include "model/weights.h"

namespace dure {

int64_t touch_bytes(const ModelWeights& weights);  // The embedding, matrices, stacks and norms.
// `progress` gets the bytes done so far, between stretches. Throws kInterrupted there.
void touch_weights(const ModelWeights& weights, Stream& stream,
                   const std::function<void(int64_t)>& progress);

}  // namespace dure
