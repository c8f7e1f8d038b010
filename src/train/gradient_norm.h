// train/gradient_norm.h: the norm of a gradient whose tensors lie on several ranks.
//
// One tree over chunks of 16,384 elements of all trained tensors in the model's order; the matrices
// of a stack of experts, and the rows of their biases, begin chunks of their own, so that the order
// does not depend on who has which. Not here: the chunks' sums (kernels/optimiser.h), clipping
// (optimiser.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comm/group.h"
#include "model/adapter.h"

namespace dure {

// Pieces of a tensor that begin chunks of their own, along its first dimension.
int64_t norm_pieces(const ImpliedTensor& tensor);

class GradientNorm {
 public:
  // is_trained: which tensors of the model have a gradient.
  GradientNorm(const ModelConfig& config,
               const std::function<bool(const ImpliedTensor&)>& is_trained);
  // Of an adapter's factors.
  GradientNorm(const ModelConfig& config, const AdapterLayout& layout);

  // This rank sums the chunks of `tensor`, after those that it added before.
  void add(const HeldTensor& tensor) {
    add(tensor.name, tensor.first, norm_pieces(tensor), tensor.shape);
  }
  void add(const AdapterFactor& factor) {
    add(factor.name, factor.first, factor.norm_pieces(), factor.shape);
  }
  int64_t own_count() const { return std::ssize(own_); }
  // own: [own_count()] sums of chunks. Each chunk is one rank's. All ranks of `world` call it.
  double norm(std::span<const double> own, Group& world);

 private:
  void have(const std::string& name, int64_t pieces, const Shape& shape);
  void add(const std::string& name, int64_t first, int64_t pieces, const Shape& shape);
  void learn_places(Group& world);

  struct First {
    std::string name;
    int64_t chunk = 0;
  };
  std::vector<First> firsts_;             // of every trained tensor
  int64_t count_ = 0;                     // chunks of the model
  std::vector<int64_t> own_;              // place of each of this rank's chunks
  std::vector<int64_t> places_, counts_;  // of all ranks' chunks, one rank after another
};

}  // namespace dure
