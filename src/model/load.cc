// The bindings of load.h: fields of the model to tensors of the files.
#include "model/load.h"

#include "base/error.h"
#include "kernels/convert.h"
#include "tensor/cpu_stream.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

int64_t stored_bytes(const ModelFiles& files, const ImpliedTensor& tensor) {
  return TensorView{nullptr, tensor.shape, files.dtype(tensor.id), Device::kCpu}.bytes();
}

// Norms and biases are read as f32.
bool is_widened(const ModelFiles& files, const ImpliedTensor& tensor) {
  return is_vector(tensor.kind) && files.dtype(tensor.id) != DType::kF32;
}

// What `files` keeps of its own for the tensor once it is asked for: decoded from FP8, or moved.
int64_t kept_bytes(const ModelFiles& files, const ImpliedTensor& tensor) {
  return files.in_place(tensor.id) ? 0 : stored_bytes(files, tensor);
}

// Binds one field of the weights after another.
struct Opener {
  const ModelFiles& files;
  ModelWeights& weights;
  CpuStream& stream;
  Arithmetic arithmetic;
  const Holding& holding;

  void bind(const ImpliedTensor& tensor, ConstTensorView& field) {
    field = files.tensor(tensor.id);
    if (is_of_experts(tensor.id.role)) {
      const ExpertRange held = experts_held(holding, field.dim(0));
      field = field.rows(held.begin, held.count());
    }
    if (!is_widened(files, tensor)) return;
    weights.owned.push_back(Buffer::of(DType::kF32, field.shape));
    const TensorView wide = weights.owned.back().view(DType::kF32, field.shape);
    widen(field, wide, stream);
    field = wide;
  }

  void bind(const ImpliedTensor& tensor, WeightView& field) {
    place(tensor, field);
    if (arithmetic == Arithmetic::kBf16) return bind_bf16(tensor, field);
    if (tensor.kind != TensorKind::kRouter && arithmetic_supports(arithmetic, field.dtype()))
      field.arithmetic = arithmetic;
  }

  void bind_bf16(const ImpliedTensor& tensor, WeightView& field) {
    if (!is_multiplied(tensor, files.config())) return;
    if (field.dtype() != DType::kBF16) {
      fail(ErrorCode::kUnsupported,
           "{}: {} is {}: arithmetic bf16 is for files whose matrices are BF16; take exact or "
           "integer8",
           files.path().string(), tensor.name, dtype_info(field.dtype()).name);
    }
    field.arithmetic = Arithmetic::kBf16;
  }

  void place(const ImpliedTensor& tensor, WeightView& field) {
    if (tensor.kind != TensorKind::kExperts) {
      field.data = files.tensor(tensor.id);
      return;
    }
    const ExpertRange held = experts_held(holding, tensor.shape[0]);
    ExpertStack stack = files.experts(tensor.id.role, tensor.id.layer, {held.begin, held.end});
    field.data = {stack.first.data,
                  {held.count(), tensor.shape[1], tensor.shape[2]},
                  stack.first.dtype,
                  stack.first.device};
    field.stack_stride_bytes = stack.stride_bytes;
    if (stack.parts.empty()) return;
    weights.addresses.push_back(std::move(stack.parts));
    field.parts = weights.addresses.back().data();
  }
};

class ParametersProvider : public TensorProvider {
 public:
  ParametersProvider(const Parameters& parameters, Stream* stream)
      : parameters_(parameters), stream_(stream) {}
  DType dtype(const ImpliedTensor&) const override { return DType::kF32; }
  ConstTensorView fetch(const ImpliedTensor& tensor, Buffer& scratch) override {
    const ConstTensorView there = parameters_.view(tensor.id);
    return stream_ == nullptr ? there : on_host(there, scratch, *stream_);
  }

 private:
  const Parameters& parameters_;
  Stream* stream_;
};

class FilesProvider : public TensorProvider {
 public:
  explicit FilesProvider(const ModelFiles& files) : files_(files) {}
  DType dtype(const ImpliedTensor& tensor) const override { return files_.dtype(tensor.id); }
  ConstTensorView fetch(const ImpliedTensor& tensor, Buffer& scratch) override {
    return files_.load(tensor.id, scratch);
  }

 private:
  const ModelFiles& files_;
};

}  // namespace

void load_parameters(const ModelFiles& files, Parameters& parameters, Stream& stream) {
  Buffer decoded;
  for (const ImpliedTensor& tensor : implied_tensors(parameters.config())) {
    if (!parameters.has(tensor.id)) continue;
    if (!files.has(tensor.id))
      fail(ErrorCode::kNotFound, "{}: no tensor '{}'", files.path().string(), tensor.name);
    ConstTensorView stored = files.load(tensor.id, decoded);
    if (stored.shape != tensor.shape) {
      fail(ErrorCode::kInvalidArgument, "{}: {} has shape {}, this model needs {}",
           files.path().string(), tensor.name, stored.shape.text(), tensor.shape.text());
    }
    const Parameter& held = parameters.list()[parameters.place(tensor.id)];
    if (tensor.id.expert < 0 && held.shape != held.whole)
      stored = stored.rows(held.first, held.shape[0]);
    widen(stored, parameters.view(tensor.id), stream);
  }
}

WeightBytes open_weights_bytes(const ModelFiles& files, const Holding& holding) {
  WeightBytes bytes;
  for (const ImpliedTensor& tensor : files.tensors()) {
    if (!holds(holding, files.config(), tensor.id)) continue;
    const int64_t kept = kept_bytes(files, tensor);
    bytes.copied += kept;
    if (is_widened(files, tensor)) {
      const int64_t parts = is_of_experts(tensor.id.role) ? holding.expert_parts : 1;
      bytes.copied += 4 * tensor.shape.elements() / parts;
    } else if (kept == 0) {
      bytes.mapped += stored_bytes(files, tensor);
    }
  }
  return bytes;
}

ModelWeights open_weights(std::shared_ptr<const ModelFiles> files, Arithmetic arithmetic) {
  return open_weights(std::move(files), arithmetic, {});
}

ModelWeights open_weights(std::shared_ptr<const ModelFiles> files, Arithmetic arithmetic,
                          const Holding& holding) {
  ModelWeights out;
  out.config = files->config();
  CpuStream stream(1);
  out.make_rope_tables(stream);
  Opener opener{*files, out, stream, arithmetic, holding};
  visit_tensors(out.config, out, [&](const ImpliedTensor& tensor, auto& field) {
    if (holds(holding, out.config, tensor.id)) opener.bind(tensor, field);
  });
  for (const ImpliedTensor& tensor : files->tensors())
    if (holds(holding, out.config, tensor.id)) out.source_bytes += kept_bytes(*files, tensor);
  out.source = std::move(files);
  return out;
}

std::unique_ptr<TensorProvider> provide(const Parameters& parameters, Stream* stream) {
  return std::make_unique<ParametersProvider>(parameters, stream);
}

std::unique_ptr<TensorProvider> provide(const ModelFiles& files) {
  return std::make_unique<FilesProvider>(files);
}

Arithmetic arithmetic_in(const ModelWeights& weights) {
  ModelOf<WeightView, ConstTensorView> fields = weights;
  Arithmetic found = Arithmetic::kExact;
  visit_tensors(weights.config, fields, [&](const ImpliedTensor&, auto& field) {
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, WeightView>)
      if (field.arithmetic != Arithmetic::kExact) found = field.arithmetic;
  });
  return found;
}

}  // namespace dure
