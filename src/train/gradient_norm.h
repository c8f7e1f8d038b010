// train/gradient_norm.h: the norm of a gradient whose tensors lie on several ranks.
//
// One tree over chunks of 16,384 elements of all trained tensors in the model's order; the matrices
// of a stack of experts, and the rows of their biases, begin chunks of their own, so that the order
// does not depend on who has which. Not here: the chunks' sums (kernels/optimiser.h), clipping
// (optimiser.h).
#pragma once

#include <functional>
#include <vector>

#include "comm/group.h"
#include "model/holding.h"

namespace dure {

// Pieces of a tensor that begin chunks of their own, along its first dimension.
int64_t norm_pieces(const ImpliedTensor& tensor);

class GradientNorm {
 public:
  // is_trained: which tensors of the model have a gradient.
  GradientNorm(const ModelConfig& config,
               const std::function<bool(const ImpliedTensor&)>& is_trained);

  // This rank sums the chunks of `tensor`, after those that it added before.
  void add(const HeldTensor& tensor);
  int64_t own_count() const { return std::ssize(own_); }
  // own: [own_count()] sums of chunks. Each chunk is one rank's. All ranks of `world` call it.
  double norm(std::span<const double> own, Group& world);

 private:
  void learn_places(Group& world);

  struct First {
    TensorId id;
    int64_t chunk = 0;
  };
  std::vector<First> firsts_;             // of every trained tensor
  int64_t count_ = 0;                     // chunks of the model
  std::vector<int64_t> own_;              // place of each of this rank's chunks
  std::vector<int64_t> places_, counts_;  // of all ranks' chunks, one rank after another
};

}  // namespace dure
