// Chained over the configuration's text and the tensors in the order of visit_tensors().
#include "model/fingerprint.h"

#include "base/hash.h"
#include "formats/hf_config.h"
#include "kernels/fingerprint.h"

namespace dure {
namespace {

uint64_t chain(uint64_t seed, std::string_view text) { return xxh64(text, seed); }

}  // namespace

uint64_t model_fingerprint(const ModelWeights& weights, Stream& stream) {
  uint64_t hash = chain(0, write_hf_config(weights.config).dump());
  ModelOf<WeightView, ConstTensorView> fields = weights;
  visit_tensors(weights.config, fields, [&](const ImpliedTensor&, auto& field) {
    if (!field) return;
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, WeightView>) {
      hash = chain(hash, dtype_info(field.dtype()).name);
      hash = chain(hash, std::to_string(static_cast<int>(field.arithmetic)));
      for (int64_t i = 0; i < field.stack(); ++i) fingerprint(field, i, hash, stream);
    } else {
      fingerprint(field, hash, stream);
    }
  });
  return hash;
}

}  // namespace dure
