// formats/tensor_source.h: named tensors that can be looked at: what every container of weights
// looks like to a reader.
//
// Implemented by safetensors files and sharded sets (safetensors.h) and GGUF files and split sets
// (gguf.h). A name is looked up once (index_of), its index serves from then on. Names and types are
// the container's own; the model's names and roles are tensor_names.h, what binds the two is
// model_files.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
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

// Names to places in a list; looked up by any text without a copy of it.
struct NameHash {
  using is_transparent = void;
  size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
};
using NameIndex = std::unordered_map<std::string, size_t, NameHash, std::equal_to<>>;

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const std::vector<TensorInfo>& tensors() const = 0;  // In the container's order.
  virtual std::optional<size_t> index_of(std::string_view name) const = 0;  // in tensors()
  // The bytes of tensors()[index] where they lie. Valid as long as the source. Safe from several
  // threads. Throws kCorrupt where only the header was there.
  virtual ConstTensorView view_at(size_t index) const = 0;
  // False where view_at() gives a copy that the source keeps: the tensor's address in the file is
  // none that its type can have.
  virtual bool in_place(size_t index) const = 0;
  virtual std::string where() const = 0;  // For messages: the file or folder.

  const TensorInfo* find(std::string_view name) const {
    const std::optional<size_t> index = index_of(name);
    return index ? &tensors()[*index] : nullptr;
  }
  // Throws kNotFound naming the tensor.
  ConstTensorView view(std::string_view name) const {
    const std::optional<size_t> index = index_of(name);
    if (!index) fail(ErrorCode::kNotFound, "{}: no tensor '{}'", where(), name);
    return view_at(*index);
  }
};

inline std::optional<size_t> find_in(const NameIndex& names, std::string_view name) {
  const auto found = names.find(name);
  return found == names.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace dure
