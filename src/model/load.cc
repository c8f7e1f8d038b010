#include "model/load.h"

#include <cstring>

#include "base/error.h"
#include "kernels/convert.h"

namespace dure {
namespace {

// "model.layers.3.mlp.experts.gate_proj.weight" and 5 ->
// "model.layers.3.mlp.experts.5.gate_proj.weight".
std::string expert_name(const std::string& stack_name, int64_t expert) {
  const size_t at = stack_name.find(".experts.") + 9;
  return stack_name.substr(0, at) + std::to_string(expert) + "." + stack_name.substr(at);
}

TensorRole expert_role(const std::string& stack_name) {
  if (stack_name.ends_with("gate_proj.weight")) return TensorRole::kExpertGate;
  return stack_name.ends_with("up_proj.weight") ? TensorRole::kExpertUp : TensorRole::kExpertDown;
}

void check_shape(const ModelFiles& files, const std::string& name, TensorView view,
                 const Shape& wanted) {
  if (view.shape == wanted) return;
  fail(ErrorCode::kInvalidArgument, "{}: {} has shape {}, this model needs {}",
       files.path().string(), name, view.shape.text(), wanted.text());
}

// Binds one field of the weights after another.
struct Opener {
  const ModelFiles& files;
  ModelWeights& weights;

  Buffer& own(DType dtype, Shape shape) {
    return weights.owned.emplace_back(Buffer::of(dtype, shape));
  }

  void bind(const TensorFacts& facts, TensorView& field) {
    const TensorView stored = files.tensor(facts.name);
    if (stored.dtype == DType::kF32) {
      field = stored;
      return;
    }
    Stream alone(1);
    field = own(DType::kF32, facts.shape).view(DType::kF32, facts.shape);
    widen(stored, field, alone);
  }

  void bind(const TensorFacts& facts, WeightView& field) {
    if (facts.kind != ParameterKind::kExperts) {
      field.data = files.tensor(facts.name);
      return;
    }
    if (const auto stack = files.stack(expert_role(facts.name), facts.layer)) {
      field.data = *stack;
      return;
    }
    const TensorRole role = expert_role(facts.name);
    const DType dtype = files.dtype({role, facts.layer, 0});
    field.data = own(dtype, facts.shape).view(dtype, facts.shape);
    Buffer scratch;
    for (int64_t e = 0; e < facts.shape[0]; ++e) {
      const TensorView one = files.load({role, facts.layer, e}, scratch);
      if (one.dtype != dtype) {
        fail(ErrorCode::kUnsupported, "{}: experts of {} have different types, {} and {}",
             files.path().string(), facts.name, dtype_info(dtype).name, dtype_info(one.dtype).name);
      }
      std::memcpy(field.data.slice(e).data, one.data, static_cast<size_t>(one.bytes()));
    }
  }
};

class ParametersProvider : public TensorProvider {
 public:
  explicit ParametersProvider(const Parameters& parameters) : parameters_(parameters) {}
  DType dtype(const ImpliedTensor&) const override { return DType::kF32; }
  TensorView fetch(const ImpliedTensor& tensor, Buffer&) override {
    if (!is_expert(tensor.id.role)) return parameters_.at(tensor.name).view;
    std::string stack = tensor.name;  // Without the expert's number.
    const size_t at = stack.find(".experts.") + 9;
    stack.erase(at, stack.find('.', at) + 1 - at);
    return parameters_.at(stack).view.slice(tensor.id.expert);
  }

 private:
  const Parameters& parameters_;
};

}  // namespace

void load_parameters(const ModelFiles& files, Parameters& parameters, Stream& stream) {
  for (const Parameter& p : parameters.list()) {
    if (p.kind != ParameterKind::kExperts) {
      const TensorView stored = files.tensor(p.name);
      check_shape(files, p.name, stored, p.shape);
      widen(stored, p.view, stream);
      continue;
    }
    for (int64_t e = 0; e < p.shape[0]; ++e) {
      const TensorView target = p.view.slice(e), stored = files.tensor(expert_name(p.name, e));
      check_shape(files, expert_name(p.name, e), stored, target.shape);
      widen(stored, target, stream);
    }
  }
}

int64_t open_weights_bytes(const ModelFiles& files) {
  int64_t bytes = 0;
  for (const ImpliedTensor& tensor : files.tensors()) {
    const DType dtype = files.dtype(tensor.id);
    const bool small = tensor.shape.rank() == 1;  // Norms and the router's bias: f32.
    const bool gathered =
        is_expert(tensor.id.role) && !files.is_stacked(tensor.id.role, tensor.id.layer);
    const int64_t stored = TensorView{nullptr, tensor.shape, dtype, Device::kCpu}.bytes();
    if (small && dtype != DType::kF32) bytes += 4 * tensor.shape.elements();
    if (gathered || (!is_expert(tensor.id.role) && files.is_decoded(tensor.id))) bytes += stored;
  }
  return bytes;
}

ModelWeights open_weights(std::shared_ptr<const ModelFiles> files) {
  ModelWeights out;
  out.config = files->config();
  out.inverse_frequency = rope_inverse_frequency(out.config.rope, out.config.head_width);
  Opener opener{*files, out};
  visit_tensors(out.config, out,
                [&](const TensorFacts& facts, auto& field) { opener.bind(facts, field); });
  out.source = std::move(files);
  return out;
}

std::unique_ptr<TensorProvider> provide(const Parameters& parameters) {
  return std::make_unique<ParametersProvider>(parameters);
}

}  // namespace dure
