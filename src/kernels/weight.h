// kernels/weight.h: a weight matrix as the matrix products read it: stored type and layout, never
// converted in bulk.
//
// Row-major [N, K] (out, in) as on disk, plain (F32, BF16, F16) or in quantised blocks along K; or
// repacked into panels for the processor (an explicit, counted copy). New layouts are added here
// and served by linear.h; callers do not change.
#pragma once

#include "tensor/tensor_view.h"

namespace dure {

enum class WeightLayout : uint8_t {
  kRowMajor,  // [N, K]
  kPanels,    // repacked; see linear.h
};

struct WeightView {
  TensorView data;  // [N, K], or [E, N, K] for a stack of experts
  WeightLayout layout = WeightLayout::kRowMajor;
  int64_t rows() const { return data.shape[data.shape.rank() - 2]; }  // N
  int64_t columns() const { return data.shape.back(); }               // K
  int64_t stack() const { return data.shape.rank() == 3 ? data.shape[0] : 1; }
};

}  // namespace dure
