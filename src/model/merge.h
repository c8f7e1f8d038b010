// model/merge.h: an adapter folded into the matrices it adds to: W + scale * B A.
//
// In f32: scale * B is rounded once, then each element of W takes fused multiply-adds over the
// rank, ascending. What is written in a narrower type is rounded once more, by whom it writes. Not
// here: files and their types (cli/convert_model.h).
#pragma once

#include <memory>

#include "model/adapter.h"
#include "tensor/cpu_stream.h"

namespace dure {

class AdapterMerger {
 public:
  // Throws kInvalidArgument where the adapter adds to a head that is the embedding's own matrix.
  AdapterMerger(std::shared_ptr<const ModelAdapter> adapter, const ModelConfig& config);

  // Whether merged() changes the tensor. Of one expert or of a stack.
  bool changes(TensorId id) const;
  // The tensor (one expert's, never a stack) with its addition, f32, in room that the next call
  // takes again. `stored` is of any type that kernels widen.
  ConstTensorView merged(TensorId id, ConstTensorView stored);

 private:
  std::shared_ptr<const ModelAdapter> adapter_;
  TensorIndex index_;  // of additions_, by stack
  std::vector<LowRank> additions_;
  CpuStream stream_;
  Buffer wide_, scaled_;
};

}  // namespace dure
