#include "model/load.h"

#include <cstring>

#include "base/error.h"
#include "kernels/convert.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

// Binds one field of the weights after another.
struct Opener {
  const ModelFiles& files;
  ModelWeights& weights;

  Buffer& own(DType dtype, Shape shape) {
    return weights.owned.emplace_back(Buffer::of(dtype, shape));
  }

  void bind(const ImpliedTensor& tensor, ConstTensorView& field) {
    const ConstTensorView stored = files.tensor(tensor.id);
    if (stored.dtype == DType::kF32) {
      field = stored;
      return;
    }
    CpuStream alone(1);
    const TensorView wide = own(DType::kF32, tensor.shape).view(DType::kF32, tensor.shape);
    widen(stored, wide, alone);
    field = wide;
  }

  void bind(const ImpliedTensor& tensor, WeightView& field) {
    if (tensor.kind != TensorKind::kExperts) {
      field.data = files.tensor(tensor.id);
    } else if (const auto stack = files.stack(tensor.id.role, tensor.id.layer)) {
      field.data = *stack;
    } else {
      gather(tensor, field);
    }
  }

  void gather(const ImpliedTensor& stack, WeightView& field) {
    TensorId id = stack.id;
    id.expert = 0;
    const DType dtype = files.dtype(id);
    const TensorView gathered = own(dtype, stack.shape).view(dtype, stack.shape);
    field.data = gathered;
    Buffer scratch;
    for (; id.expert < stack.shape[0]; ++id.expert) {
      const ConstTensorView one = files.load(id, scratch);
      if (one.dtype != dtype) {
        fail(ErrorCode::kUnsupported, "{}: experts of {} have different types, {} and {}",
             files.path().string(), stack.name, dtype_info(dtype).name, dtype_info(one.dtype).name);
      }
      std::memcpy(gathered.slice(id.expert).data, one.data, static_cast<size_t>(one.bytes()));
    }
  }
};

class ParametersProvider : public TensorProvider {
 public:
  explicit ParametersProvider(const Parameters& parameters) : parameters_(parameters) {}
  DType dtype(const ImpliedTensor&) const override { return DType::kF32; }
  ConstTensorView fetch(const ImpliedTensor& tensor, Buffer&) override {
    return parameters_.view(tensor.id);
  }

 private:
  const Parameters& parameters_;
};

}  // namespace

void load_parameters(const ModelFiles& files, Parameters& parameters, Stream& stream) {
  for (const ImpliedTensor& tensor : implied_tensors(parameters.config())) {
    const ConstTensorView stored = files.tensor(tensor.name);
    if (stored.shape != tensor.shape) {
      fail(ErrorCode::kInvalidArgument, "{}: {} has shape {}, this model needs {}",
           files.path().string(), tensor.name, stored.shape.text(), tensor.shape.text());
    }
    widen(stored, parameters.view(tensor.id), stream);
  }
}

WeightBytes open_weights_bytes(const ModelFiles& files) {
  WeightBytes bytes;
  for (const ImpliedTensor& tensor : files.tensors()) {
    const DType dtype = files.dtype(tensor.id);
    const bool widened = tensor.shape.rank() == 1 && dtype != DType::kF32;  // norms, router's bias
    const bool gathered =
        is_expert(tensor.id.role) && !files.is_stacked(tensor.id.role, tensor.id.layer);
    const int64_t stored = TensorView{nullptr, tensor.shape, dtype, Device::kCpu}.bytes();
    if (widened) {
      bytes.copied += 4 * tensor.shape.elements();
    } else if (gathered || files.is_decoded(tensor.id)) {
      bytes.copied += stored;
    } else {
      bytes.mapped += stored;
    }
  }
  return bytes;
}

ModelWeights open_weights(std::shared_ptr<const ModelFiles> files) {
  ModelWeights out;
  out.config = files->config();
  CpuStream stream(1);
  out.make_rope_table(stream);
  Opener opener{*files, out};
  visit_tensors(out.config, out,
                [&](const ImpliedTensor& tensor, auto& field) { opener.bind(tensor, field); });
  out.source = std::move(files);
  return out;
}

std::unique_ptr<TensorProvider> provide(const Parameters& parameters) {
  return std::make_unique<ParametersProvider>(parameters);
}

}  // namespace dure
