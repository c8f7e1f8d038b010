// The outer product of an addition as a weight gradient's product: dw += up^T down.
#include "model/merge.h"

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/linear.h"
#include "kernels/rows.h"

namespace dure {
namespace {

ConstTensorView matrix_of(const WeightView& factor, int64_t expert) {
  return expert < 0 ? factor.data : factor.data.slice(expert);
}

}  // namespace

AdapterMerger::AdapterMerger(std::shared_ptr<const ModelAdapter> adapter, const ModelConfig& config)
    : adapter_(std::move(adapter)) {
  if (config.tied_embeddings && adapter_->head)
    fail(ErrorCode::kInvalidArgument,
         "the adapter adds to the head, which is this model's embedding too: merging would change "
         "both; use it unmerged");
  ModelOf<LowRank, NoTensor> fields = *adapter_;
  for (const ImpliedTensor& tensor : adaptable_tensors(config)) {
    tensors_detail::use_field(fields, tensor.id, [&](auto& field) {
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(field)>, LowRank>) {
        if (!field) return;
        index_.add(tensor.id, additions_.size());
        additions_.push_back(field);
      }
    });
  }
}

bool AdapterMerger::changes(TensorId id) const {
  return index_.find({id.role, id.layer, -1}).has_value();
}

ConstTensorView AdapterMerger::merged(TensorId id, ConstTensorView stored) {
  const std::optional<size_t> place = index_.find({id.role, id.layer, -1});
  DURE_CHECK(place && stored.shape.rank() == 2, "{} of shape {}", role_name(id.role),
             stored.shape.text());
  const LowRank* added = &additions_[*place];
  if (wide_.bytes() < 4 * stored.elements()) wide_ = Buffer(4 * stored.elements());
  const TensorView out = wide_.view(DType::kF32, stored.shape);
  widen(stored, out, stream_);
  const ConstTensorView up = matrix_of(added->up, id.expert);
  if (scaled_.bytes() < up.bytes()) scaled_ = Buffer(up.bytes());
  const TensorView scaled = scaled_.view(DType::kF32, up.shape);
  copy_to(up, scaled, stream_);
  scale_by(added->scale, scaled, stream_);
  linear_weight_gradient(scaled, matrix_of(added->down, id.expert), out, Arithmetic::kExact,
                         stream_);
  return out;
}

}  // namespace dure
