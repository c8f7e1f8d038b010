// model/bf16_copies.h: BF16 copies of a trainer's matrices, for products of Arithmetic::kBf16.
//
// Owns the copies and which matrices have one: those that multiply activations, the router's left
// out. f32 parameters stay what the optimiser moves, what embeddings are looked up in and what
// files are written from. Not here: the arithmetic (kernels/arithmetic.h), when the parameters have
// changed (train/learner.h).
#pragma once

#include "model/weights.h"

namespace dure {

class Bf16Copies {
 public:
  static int64_t bytes(const ModelConfig& config, const Holding& holding = {});

  // Allocates bytes(), and copies once. `parameters` must outlive it. Throws kOutOfMemory.
  Bf16Copies(const Parameters& parameters, Stream& stream);

  // Of weights that bind_weights() gave: the matrices that have copies become those.
  void bind(ModelWeights& weights) const;
  // After the parameters have changed.
  void refresh(Stream& stream);

 private:
  struct Copy {
    ConstTensorView from;  // f32
    TensorView to;         // BF16
  };
  const Parameters& parameters_;
  Buffer buffer_;
  std::vector<Copy> copies_;  // of parameters_.list(), by place; empty where there is none
};

}  // namespace dure
