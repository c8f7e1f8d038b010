// model/parameters.h: all parameters of a model as one f32 block with a view per tensor.
//
// The same layout serves the master weights, their gradients and each moment of an optimiser:
// element i of one block belongs to element i of another. Where a rank holds a part of a model
// (holding.h) the block has that alone, under the model's own names; a part of the routed experts
// lies behind all the rest, as other ranks have them than have the rest. Not here: which file they
// came from (load.h), how they move (train/).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/holding.h"
#include "model/tensors.h"
#include "tensor/buffer.h"

namespace dure {

struct Parameter : HeldTensor {
  TensorView view;     // f32, `shape`
  int64_t offset = 0;  // of its first element in flat()
};

// Where what is held lies in such a block, known without one.
struct ParameterLayout {
  std::vector<HeldTensor> tensors;
  std::vector<int64_t> offsets;  // of the first element of each
  int64_t elements = 0;          // padding included
};
ParameterLayout layout_of(const ModelConfig& config, const Holding& holding);

class Parameters {
 public:
  // Allocates bytes(), zeroed. Throws kOutOfMemory.
  explicit Parameters(const ModelConfig& config, Device device = Device::kCpu)
      : Parameters(config, Holding{}, device) {}
  Parameters(const ModelConfig& config, const Holding& holding, Device device);
  static int64_t bytes(const ModelConfig& config, const Holding& holding = {});

  const ModelConfig& config() const { return config_; }
  const Holding& holding() const { return holding_; }
  std::span<const Parameter> list() const { return list_; }
  // By name, for people and tests; the program asks by id.
  const Parameter* find(std::string_view name) const;  // nullptr where there is none
  const Parameter& at(std::string_view name) const;    // Throws kNotFound naming it.
  // Of an expert its slice of the stack. Throws kNotFound naming it, as where it is not held.
  TensorView view(TensorId id) const;
  // Its place in list(), of an expert that of the stack. Throws kNotFound naming it.
  size_t place(TensorId id) const;
  bool has(TensorId id) const;
  // Everything as one row [N]; between tensors lie padding elements (each tensor starts at 64
  // bytes), 0 for good.
  TensorView flat() const { return flat_; }

  // Fresh weights: matrices normal(0, initializer_range), norms 1, biases and sinks 0. Element i of
  // a tensor depends on the seed, the tensor's name and i alone.
  void initialise(uint64_t seed, Stream& stream);
  void zero(Stream& stream);

  // The views by place, for the backward to add to (a block used as gradients); empty where nothing
  // is held.
  ModelGradients by_place() const;
  // The same into fields of `places`, which keep what this block does not hold.
  void add_places(ModelGradients& places) const;

 private:
  ModelConfig config_;
  Holding holding_;
  std::vector<Parameter> list_;
  TensorIndex index_;  // of list_
  Buffer buffer_;
  TensorView flat_;
};

}  // namespace dure
