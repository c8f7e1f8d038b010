// Places by role; moves of elements between our rows and a file's columns.
#include "formats/hf_packing.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/check.h"

namespace dure {
namespace {

constexpr int64_t kBlock = 32, kBlockBytes = 16;  // of MXFP4: elements, and bytes of their nibbles

// Elements of one size from `from` to `to`, both at strides in elements.
template <typename Element>
void move_elements(const Element* from, int64_t from_step, int64_t count, Element* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i * from_step];
}

// Row n of out is column first + n * step of a matrix [rows_in, columns].
template <typename Element>
void unpack_matrix(const Element* stored, int64_t columns, const PackedPlace& place,
                   TensorView out) {
  const int64_t k = out.dim(1);
  auto* to = static_cast<Element*>(out.data);
  for (int64_t n = 0; n < out.dim(0); ++n)
    move_elements(stored + place.first + n * place.step, columns, k, to + n * k);
}

template <typename Element>
void unpack_biases(const Element* stored, int64_t columns, const PackedPlace& place,
                   TensorView out) {
  const int64_t n = out.dim(1);
  auto* to = static_cast<Element*>(out.data);
  for (int64_t e = 0; e < out.dim(0); ++e)
    move_elements(stored + e * columns + place.first, place.step, n, to + e * n);
}

template <typename Element>
void unpack_as(ConstTensorView stored, const PackedPlace& place, int64_t expert, TensorView out) {
  const auto* from = static_cast<const Element*>(stored.data);
  const int64_t columns = stored.shape.back();
  if (expert < 0) return unpack_biases(from, columns, place, out);
  unpack_matrix(from + expert * stored.dim(1) * columns, columns, place, out);
}

// A file has two neighbours in a byte, the lower nibble first; a block has elements j and j + 16.
void turn_nibbles(const uint8_t* from, uint8_t* to) {
  const auto element = [from](int64_t i) {
    return i % 2 == 0 ? from[i / 2] & 15 : from[i / 2] >> 4;
  };
  for (int64_t j = 0; j < kBlockBytes; ++j)
    to[j] = static_cast<uint8_t>(element(j) | element(j + kBlockBytes) << 4);
}

// What a file's names of packed experts begin with.
std::string expert_prefix(TensorId id, const ModelConfig& config) {
  const std::string name = hf_name({id.role, id.layer, -1}, config);
  return name.substr(0, name.find("experts.") + 8);
}

}  // namespace

std::optional<PackedPlace> packed_place(TensorId id, const ModelConfig& config) {
  using enum TensorRole;
  if (id.layer < 0 || !config.layer(id.layer).experts.biases) return std::nullopt;
  const int64_t e = config.layer(id.layer).experts.count, i = config.layer(id.layer).experts.width,
                d = config.hidden_size;
  const std::string prefix = expert_prefix(id, config);
  switch (id.role) {
    case kExpertGate:
      return PackedPlace{prefix + "gate_up_proj", {e, d, 2 * i}, 0, 2};
    case kExpertUp:
      return PackedPlace{prefix + "gate_up_proj", {e, d, 2 * i}, 1, 2};
    case kExpertDown:
      return PackedPlace{prefix + "down_proj", {e, i, d}, 0, 1};
    case kExpertGateBias:
      return PackedPlace{prefix + "gate_up_proj_bias", {e, 2 * i}, 0, 2};
    case kExpertUpBias:
      return PackedPlace{prefix + "gate_up_proj_bias", {e, 2 * i}, 1, 2};
    case kExpertDownBias:
      return PackedPlace{prefix + "down_proj_bias", {e, d}, 0, 1};
    default:
      return std::nullopt;
  }
}

void unpack(ConstTensorView stored, const PackedPlace& place, int64_t expert, TensorView out) {
  DURE_CHECK(stored.dtype == out.dtype, "{} into {}", dtype_info(stored.dtype).name,
             dtype_info(out.dtype).name);
  row_bytes(stored.dtype, 1) == 4 ? unpack_as<uint32_t>(stored, place, expert, out)
                                  : unpack_as<uint16_t>(stored, place, expert, out);
}

void unpack_mxfp4(ConstTensorView blocks, ConstTensorView scales, const PackedPlace& place,
                  int64_t expert, TensorView out) {
  const int64_t groups = out.dim(1) / kBlock, rows = blocks.dim(1);
  const auto* nibbles =
      static_cast<const uint8_t*>(blocks.data) + expert * rows * groups * kBlockBytes;
  const auto* exponents = static_cast<const uint8_t*>(scales.data) + expert * rows * groups;
  auto* to = static_cast<uint8_t*>(out.data);
  for (int64_t n = 0; n < out.dim(0); ++n) {
    const int64_t first = (place.first + n * place.step) * groups;
    for (int64_t g = first; g < first + groups; ++g, to += kBlockBytes + 1) {
      *to = exponents[g];
      turn_nibbles(nibbles + g * kBlockBytes, to + 1);
    }
  }
}

int64_t StoredTensor::pieces() const { return packed && shape.rank() == 3 ? shape[0] : 1; }

std::vector<StoredTensor> stored_tensors(const ModelConfig& config) {
  std::vector<StoredTensor> out;
  std::map<std::string, size_t> packed;  // place in out
  for (ImpliedTensor& tensor : implied_tensors(config)) {
    const std::optional<PackedPlace> place = packed_place(tensor.id, config);
    if (!place) {
      out.push_back({tensor.name, tensor.shape, {}, false});
      out.back().parts.push_back(std::move(tensor));
      continue;
    }
    const auto [found, is_new] = packed.try_emplace(place->name, out.size());
    if (is_new) out.push_back({place->name, place->shape, {}, true});
    out[found->second].parts.push_back(std::move(tensor));
  }
  return out;
}

void packed_piece(const StoredTensor& stored, int64_t index, const ModelConfig& config,
                  const FetchValues& fetch, std::vector<float>& values) {
  const int64_t columns = stored.shape.back();
  values.resize(static_cast<size_t>(stored.shape.elements() / stored.pieces()));
  for (const ImpliedTensor& part : stored.parts) {
    if (part.id.expert >= 0 && part.id.expert != index) continue;
    const PackedPlace place = *packed_place(part.id, config);
    const ConstTensorView view = fetch(part);
    view.expect(DType::kF32);
    const auto* from = static_cast<const float*>(view.data);
    const int64_t rows = part.shape[0], width = part.shape[1];
    const bool turned = part.id.expert >= 0;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < width; ++c) {
        const int64_t at = turned ? c * columns + place.first + r * place.step
                                  : r * columns + place.first + c * place.step;
        values[static_cast<size_t>(at)] = from[r * width + c];
      }
    }
  }
}

}  // namespace dure
