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
               .first = parameter.first_element(),
               .deviation = deviation},
              stream);
}

}  // namespace

ParameterLayout layout_of(const ModelConfig& config, const Holding& holding) {
  ParameterLayout out{.tensors = held_tensors(config, holding)};
  out.offsets.resize(out.tensors.size());
  for (const bool behind : {false, true}) {
    for (size_t i = 0; i < out.tensors.size(); ++i) {
      const bool part = is_of_experts(out.tensors[i].id.role) && holding.expert_parts > 1;
      if (part != behind) continue;
      out.offsets[i] = out.elements;
      out.elements += padded(out.tensors[i].shape.elements());
    }
  }
  return out;
}

int64_t Parameters::bytes(const ModelConfig& config, const Holding& holding) {
  return layout_of(config, holding).elements * static_cast<int64_t>(sizeof(float));
}

Parameters::Parameters(const ModelConfig& config, const Holding& holding, Device device)
    : config_(config), holding_(holding), buffer_(bytes(config, holding), device) {
  ParameterLayout layout = layout_of(config, holding);
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    HeldTensor& tensor = layout.tensors[i];
    const int64_t offset = layout.offsets[i];
    const TensorView view =
        buffer_.view(DType::kF32, tensor.shape, offset * static_cast<int64_t>(sizeof(float)));
    index_.add(tensor.id, i);
    list_.push_back({{std::move(tensor)}, view, offset});
  }
  flat_ = buffer_.view(DType::kF32, {layout.elements});
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

bool Parameters::has(TensorId id) const {
  return holds(holding_, config_, id) && index_.find({id.role, id.layer, -1});
}

TensorView Parameters::view(TensorId id) const {
  const Parameter& stack = list_[place(id)];
  if (id.expert < 0) return stack.view;
  if (!has(id)) fail(ErrorCode::kNotFound, "{} is not held here", hf_name(id, config_));
  return stack.view.slice(id.expert - stack.first);
}

void Parameters::initialise(uint64_t seed, Stream& stream) {
  for (const Parameter& parameter : list_)
    initialise_tensor(parameter, seed, config_.initializer_range, stream);
}

void Parameters::zero(Stream& stream) { dure::zero(flat_, stream); }

ModelGradients Parameters::by_place() const {
  ModelGradients out;
  add_places(out);
  return out;
}

void Parameters::add_places(ModelGradients& places) const {
  visit_tensors(config_, places, [&](const ImpliedTensor& tensor, TensorView& field) {
    if (const auto place = index_.find(tensor.id)) field = list_[*place].view;
  });
}

}  // namespace dure
