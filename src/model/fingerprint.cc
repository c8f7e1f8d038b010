// Chained over the configuration's text and the tensors in the order of visit_tensors().
#include "model/fingerprint.h"

#include "base/hash.h"
#include "formats/hf_config.h"
#include "kernels/fingerprint.h"

namespace dure {
namespace {

uint64_t chain(uint64_t seed, std::string_view text) { return xxh64(text, seed); }

void add_matrices(const WeightView& matrices, uint64_t& hash, Stream& stream) {
  for (int64_t i = 0; i < matrices.stack(); ++i) fingerprint(matrices, i, hash, stream);
}

// Which matrices it adds to, its scales, and samples of its factors.
void add_adapter_facts(const ModelAdapter& adapter, const ModelConfig& config, uint64_t& hash,
                       Stream& stream) {
  ModelOf<LowRank, NoTensor> fields = adapter;
  for (const ImpliedTensor& tensor : adaptable_tensors(config)) {
    tensors_detail::use_field(fields, tensor.id, [&](auto& field) {
      if constexpr (std::is_same_v<std::decay_t<decltype(field)>, LowRank>) {
        if (!field) return;
        hash = chain(hash, tensor.name + std::to_string(field.scale));
        add_matrices(field.down, hash, stream);
        add_matrices(field.up, hash, stream);
      }
    });
  }
}

}  // namespace

uint64_t model_fingerprint(const ModelWeights& weights, Stream& stream) {
  uint64_t hash = chain(0, write_hf_config(weights.config).dump());
  ModelOf<WeightView, ConstTensorView> fields = weights;
  visit_tensors(weights.config, fields, [&](const ImpliedTensor&, auto& field) {
    if (!field) return;
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, WeightView>) {
      hash = chain(hash, dtype_info(field.dtype()).name);
      hash = chain(hash, std::to_string(static_cast<int>(field.arithmetic)));
      add_matrices(field, hash, stream);
    } else {
      fingerprint(field, hash, stream);
    }
  });
  if (weights.adapter != nullptr) add_adapter_facts(*weights.adapter, weights.config, hash, stream);
  return hash;
}

}  // namespace dure
