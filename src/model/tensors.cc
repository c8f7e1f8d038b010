#include "model/tensors.h"

#include <algorithm>

#include "base/error.h"

namespace dure {

std::vector<ImpliedTensor> tensor_list(const ModelConfig& config) {
  const bool post_norm =
      std::any_of(config.layers.begin(), config.layers.end(),
                  [](const LayerFacts& layer) { return layer.norm_order != NormOrder::kPre; });
  if (post_norm) {
    fail(ErrorCode::kUnsupported,
         "a model with its norms after the blocks (EXAONE 4.0) can be inspected and converted, not "
         "run");
  }
  DURE_CHECK(
      config.mtp_layer_count == 0 || (config.mtp_layer_count == 1 && !config.mtp_layer.sparse),
      "{} MTP layers", config.mtp_layer_count);
  return implied_stacks(config);
}

}  // namespace dure
