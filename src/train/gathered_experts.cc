// Stack by stack, each rank's run of it to all.
#include "train/gathered_experts.h"

#include <algorithm>

#include "kernels/rows.h"

namespace dure {
namespace {

constexpr Holding kExperts{.rest = false};

void set(WeightView& field, TensorView view) { field = {.data = view}; }
void set(ConstTensorView& field, TensorView view) { field = view; }

int64_t largest(const Parameters& parameters) {
  int64_t elements = 0;
  for (const Parameter& p : parameters.list()) elements = std::max(elements, p.view.elements());
  return elements;
}

TensorView flat(TensorView view) { return view.reshaped({view.elements()}); }

}  // namespace

int64_t GatheredExperts::bytes(const ModelConfig& config, Arithmetic arithmetic) {
  return Parameters::bytes(config, kExperts) +
         (arithmetic == Arithmetic::kBf16 ? Bf16Copies::bytes(config, kExperts) : 0);
}

GatheredExperts::GatheredExperts(Learner& learner, Stream& stream)
    : learner_(learner),
      stream_(stream),
      experts_(learner.config(), kExperts, stream.device()),
      weights_(learner.own_weights()),
      room_(largest(experts_), stream.device()) {
  visit_tensors(weights_.config, weights_, [&](const ImpliedTensor& tensor, auto& field) {
    if (experts_.has(tensor.id)) set(field, experts_.view(tensor.id));
  });
  if (learner.arithmetic() != Arithmetic::kBf16) return;
  copies_.emplace(experts_, stream);
  copies_->bind(weights_);
}

void GatheredExperts::refresh() {
  Group& group = learner_.mesh().expert();
  for (const Parameter& p : experts_.list()) {
    const TensorView whole = flat(p.view);
    const TensorView own = flat(learner_.parameters().view(p.id));
    const int64_t each = own.elements();
    const std::vector<int64_t> counts(static_cast<size_t>(group.size()), each);
    const Group::TakeShare<float> take = [&](int member, int64_t first,
                                             std::span<const float> values) {
      copy_from_host(values, whole.rows(member * each + first, std::ssize(values)), stream_);
    };
    copy_to(own, whole.rows(group.rank() * each, each), stream_);
    group.all_gather(room_.of(own, stream_), counts, take, "gather of experts");
  }
  if (copies_) copies_->refresh(stream_);
}

}  // namespace dure
