// kernels/touch.h: every page of a weight read once, in order.
//
// A mapped file costs a page fault at the first touch of each page, and the disk where the page is
// not in memory: what runs after this pays neither. Nothing where weights are not mapped into the
// processor's memory. Not here: which weights a model has (model/touch.h).
#pragma once

#include "kernels/weight.h"
#include "tensor/device.h"

namespace dure {

// Checked: 0 <= matrix < weight.stack().
void touch_matrix(const WeightView& weight, int64_t matrix, Stream& stream);

}  // namespace dure
