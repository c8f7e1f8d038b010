// One block is copied; views and BF16 copies follow it.
#include "rl/sampler_weights.h"

#include "kernels/rows.h"
#include "model/base_weights.h"

namespace dure {

ConstTensorView trained_block(Learner& learner) {
  return learner.adapter() != nullptr ? learner.adapter()->flat() : learner.parameters().flat();
}

SamplerWeights::SamplerWeights(Learner& learner, Arithmetic arithmetic, Stream& stream) {
  if (learner.adapter() != nullptr) {
    adapter_.emplace(learner.config(), learner.adapter()->layout(), stream.device());
    weights_ = base_of(learner.weights(), stream);
    weights_.adapter = std::make_shared<ModelAdapter>(adapter_->bind());
    return;
  }
  parameters_.emplace(learner.config(), stream.device());
  weights_ = bind_weights(*parameters_, stream);
  if (arithmetic != Arithmetic::kBf16) return;
  copies_.emplace(*parameters_, stream);
  copies_->bind(weights_);
}

void SamplerWeights::take(ConstTensorView block, Stream& stream) {
  copy_to(block, adapter_ ? adapter_->flat() : parameters_->flat(), stream);
  if (copies_) copies_->refresh(stream);
}

}  // namespace dure
