// The block and the places of its tensors.
#include "model/parameters.h"

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/random.h"
#include "kernels/rows.h"

namespace dure {
namespace {

constexpr int64_t kAlign = 16;  // elements: 64 bytes
int64_t padded(int64_t elements) { return (elements + kAlign - 1) / kAlign * kAlign; }

void initialise_tensor(const Parameter& parameter, uint64_t seed, double deviation,
                       Stream& stream) {
  if (parameter.kind == TensorKind::kNorm) return fill(parameter.view, 1, stream);
  if (is_vector(parameter.kind)) return zero(parameter.view, stream);
  fill_normal(parameter.view,
              {.seed = seed,
               .stream = stream_id(("initialise " + parameter.name).c_str()),
               .deviation = deviation},
              stream);
}

}  // namespace

int64_t Parameters::bytes(const ModelConfig& config) {
  int64_t elements = 0;
  for (const ImpliedTensor& tensor : tensor_list(config))
    elements += padded(tensor.shape.elements());
  return elements * static_cast<int64_t>(sizeof(float));
}

Parameters::Parameters(const ModelConfig& config, Device device)
    : config_(config), buffer_(bytes(config), device) {
  int64_t offset = 0;
  for (ImpliedTensor& tensor : tensor_list(config)) {
    const TensorView view =
        buffer_.view(DType::kF32, tensor.shape, offset * static_cast<int64_t>(sizeof(float)));
    index_.add(tensor.id, list_.size());
    list_.push_back({{std::move(tensor)}, view, offset});
    offset += padded(view.elements());
  }
  flat_ = buffer_.view(DType::kF32, {offset});
}

const Parameter* Parameters::find(std::string_view name) const {
  const auto it =
      std::find_if(list_.begin(), list_.end(), [&](const Parameter& p) { return p.name == name; });
  return it == list_.end() ? nullptr : &*it;
}

const Parameter& Parameters::at(std::string_view name) const {
  const Parameter* parameter = find(name);
  if (parameter == nullptr) fail(ErrorCode::kNotFound, "the model has no parameter {}", name);
  return *parameter;
}

size_t Parameters::place(TensorId id) const {
  const std::optional<size_t> place = index_.find({id.role, id.layer, -1});
  if (!place) fail(ErrorCode::kNotFound, "the model has no parameter {}", hf_name(id, config_));
  return *place;
}

TensorView Parameters::view(TensorId id) const {
  const TensorView stack = list_[place(id)].view;
  return id.expert < 0 ? stack : stack.slice(id.expert);
}

void Parameters::initialise(uint64_t seed, Stream& stream) {
  for (const Parameter& parameter : list_)
    initialise_tensor(parameter, seed, config_.initializer_range, stream);
}

void Parameters::zero(Stream& stream) { dure::zero(flat_, stream); }

ModelGradients Parameters::by_place() const {
  ModelGradients out;
  size_t next = 0;
  visit_tensors(config_, out,
                [&](const ImpliedTensor&, TensorView& field) { field = list_[next++].view; });
  return out;
}

}  // namespace dure
