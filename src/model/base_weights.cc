// Views of the same tensors.
#include "model/base_weights.h"

namespace dure {

ModelWeights base_of(const ModelWeights& weights, Stream& stream) {
  ModelWeights out;
  static_cast<ModelOf<WeightView, ConstTensorView>&>(out) = weights;
  out.config = weights.config;
  out.make_rope_tables(stream);
  return out;
}

}  // namespace dure
