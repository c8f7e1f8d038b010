// model/parameters.h: all parameters of a model as one f32 block with a view per tensor.
//
// The same layout serves the master weights, their gradients and each moment of an optimiser:
// element i of one block belongs to element i of another. Not here: which file they came from
// (load.h), how they move (train/).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/tensors.h"
#include "tensor/buffer.h"

namespace dure {

struct Parameter : ImpliedTensor {
  TensorView view;     // f32, `shape`
  int64_t offset = 0;  // of its first element in flat()
};

class Parameters {
 public:
  // Allocates bytes(config), zeroed. Throws kOutOfMemory.
  explicit Parameters(const ModelConfig& config, Device device = Device::kCpu);
  static int64_t bytes(const ModelConfig& config);

  const ModelConfig& config() const { return config_; }
  std::span<const Parameter> list() const { return list_; }
  // By name, for people and tests; the program asks by id.
  const Parameter* find(std::string_view name) const;  // nullptr where there is none
  const Parameter& at(std::string_view name) const;    // Throws kNotFound naming it.
  // Of an expert its slice of the stack. Throws kNotFound naming it.
  TensorView view(TensorId id) const;
  // Its place in list(), of an expert that of the stack. Throws kNotFound naming it.
  size_t place(TensorId id) const;
  // Everything as one row [N]; between tensors lie padding elements (each tensor starts at 64
  // bytes), 0 for good.
  TensorView flat() const { return flat_; }

  // Fresh weights: matrices normal(0, initializer_range), norms 1, biases and sinks 0. Element i of
  // a tensor depends on the seed, the tensor's name and i alone.
  void initialise(uint64_t seed, Stream& stream);
  void zero(Stream& stream);

  // The views by place, for the backward to add to (a block used as gradients).
  ModelGradients by_place() const;

 private:
  ModelConfig config_;
  std::vector<Parameter> list_;
  TensorIndex index_;  // of list_
  Buffer buffer_;
  TensorView flat_;
};

}  // namespace dure
