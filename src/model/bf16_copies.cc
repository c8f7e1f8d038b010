// Which matrices are copied, and where the copies lie.
#include "model/bf16_copies.h"

#include "kernels/convert.h"

namespace dure {
namespace {

int64_t aligned_bytes(const Shape& shape) { return (2 * shape.elements() + 63) / 64 * 64; }

}  // namespace

int64_t Bf16Copies::bytes(const ModelConfig& config, const Holding& holding) {
  int64_t sum = 0;
  for (const HeldTensor& tensor : held_tensors(config, holding)) {
    if (is_multiplied(tensor, config)) sum += aligned_bytes(tensor.shape);
  }
  return sum;
}

Bf16Copies::Bf16Copies(const Parameters& parameters, Stream& stream)
    : parameters_(parameters),
      buffer_(bytes(parameters.config(), parameters.holding()), stream.device()) {
  int64_t offset = 0;
  for (const Parameter& p : parameters.list()) {
    Copy& copy = copies_.emplace_back();
    if (!is_multiplied(p, parameters.config())) continue;
    copy = {p.view, buffer_.view(DType::kBF16, p.shape, offset)};
    offset += aligned_bytes(p.shape);
  }
  refresh(stream);
}

void Bf16Copies::bind(ModelWeights& weights) const {
  const auto set = [](WeightView& field, TensorView copy) {
    field = {.data = copy, .arithmetic = Arithmetic::kBf16};
  };
  visit_tensors(weights.config, weights, [&](const ImpliedTensor& tensor, auto& field) {
    if (!parameters_.has(tensor.id)) return;
    const TensorView copy = copies_[parameters_.place(tensor.id)].to;
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(field)>, WeightView>) {
      if (copy && tensor.kind != TensorKind::kEmbedding) set(field, copy);
    }
  });
  // Where they are tied the table is looked up in f32, and multiplies as the head.
  for (size_t i = 0; weights.config.tied_embeddings && i < copies_.size(); ++i) {
    if (parameters_.list()[i].kind == TensorKind::kEmbedding) set(weights.head, copies_[i].to);
  }
}

void Bf16Copies::refresh(Stream& stream) {
  for (const Copy& copy : copies_) {
    if (copy.to) round_to_bf16(copy.from, copy.to, stream);
  }
}

}  // namespace dure
