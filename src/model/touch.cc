// The matrices of visit_tensors(), one after another. Norms lie between them and are small.
#include "model/touch.h"

#include <vector>

#include "base/interrupt.h"
#include "kernels/touch.h"

namespace dure {
namespace {

std::vector<WeightView> matrices_of(const ModelWeights& weights) {
  ModelOf<WeightView, ConstTensorView> fields = weights;
  std::vector<WeightView> out;
  visit_tensors(weights.config, fields, [&](const ImpliedTensor&, auto& field) {
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, WeightView>)
      if (field) out.push_back(field);
  });
  return out;
}

}  // namespace

int64_t touch_bytes(const ModelWeights& weights) {
  int64_t sum = 0;
  for (const WeightView& weight : matrices_of(weights)) sum += weight.data.bytes();
  return sum;
}

void touch_weights(const ModelWeights& weights, Stream& stream,
                   const std::function<void(int64_t)>& progress) {
  const InterruptScope scope;
  int64_t done = 0;
  for (const WeightView& weight : matrices_of(weights)) {
    for (int64_t i = 0; i < weight.stack(); ++i) {
      throw_if_interrupted("the model was being read into memory");
      touch_matrix(weight, i, stream);
      done += weight.data.bytes() / weight.stack();
      progress(done);
    }
  }
}

}  // namespace dure
