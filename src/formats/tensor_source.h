// formats/tensor_source.h: named tensors that can be looked at: what every container of weights
// looks like to a reader.
//
// Implemented by safetensors files and sharded sets (safetensors.h) and GGUF files and split sets
// (gguf.h). Names and types are the container's own; the model's names and roles are
// tensor_names.h, what binds the two is model_files.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor_view.h"

namespace dure {

// How much of a file must be there. kHeader serves inspection: the data may be cut off or absent.
enum class Extent { kWhole, kHeader };

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;  // Row-major, slowest first.
  int64_t elements() const { return shape.elements(); }
  int64_t bytes() const { return TensorView{nullptr, shape, dtype, Device::kCpu}.bytes(); }
  bool operator==(const TensorInfo&) const = default;
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const std::vector<TensorInfo>& tensors() const = 0;  // In the container's order.
  virtual const TensorInfo* find(std::string_view name) const = 0;
  // The bytes where they lie. Valid as long as the
  // source. Safe from several threads. Throws kNotFound naming the tensor, and kCorrupt where only
  // the header was there.
  virtual ConstTensorView view(std::string_view name) const = 0;
  virtual std::string where() const = 0;  // For messages: the file or folder.
};

}  // namespace dure
