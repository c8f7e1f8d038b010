// The list of a model's tensors, experts stacked, for a model that the passes can run: at most one
// MTP layer, and that a dense one.
#include "model/tensors.h"

#include "base/check.h"

namespace dure {

std::vector<ImpliedTensor> tensor_list(const ModelConfig& config) {
  DURE_CHECK(
      config.mtp_layer_count == 0 || (config.mtp_layer_count == 1 && !config.mtp_layer.sparse),
      "{} MTP layers", config.mtp_layer_count);
  return implied_stacks(config);
}

bool is_multiplied(const ImpliedTensor& tensor, const ModelConfig& config) {
  switch (tensor.kind) {
    case TensorKind::kMatrix:
    case TensorKind::kExperts:
    case TensorKind::kHead:
      return true;
    case TensorKind::kEmbedding:
      return config.tied_embeddings;
    default:
      return false;
  }
}

}  // namespace dure
