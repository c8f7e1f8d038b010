// Which tensors a holding has: by layer, by place around the layers, by expert.
#include "model/holding.h"

#include "base/check.h"
#include "model/tensors.h"

namespace dure {

bool is_of_experts(TensorRole role) {
  return is_expert(role) || role == TensorRole::kExpertGateBias ||
         role == TensorRole::kExpertUpBias || role == TensorRole::kExpertDownBias;
}

ExpertRange experts_held(const Holding& holding, int64_t expert_count) {
  DURE_CHECK(expert_count % holding.expert_parts == 0, "{} experts in {} parts", expert_count,
             holding.expert_parts);
  const int64_t each = expert_count / holding.expert_parts;
  return {each * holding.expert_part, each * (holding.expert_part + 1)};
}

std::optional<int64_t> first_uneven_layer(const ModelConfig& config, int64_t expert_parts) {
  for (int64_t i = 0; i < config.layer_count() + config.mtp_layer_count; ++i) {
    const LayerFacts& layer = config.layer(i);
    if (layer.sparse && layer.experts.count % expert_parts != 0) return i;
  }
  return std::nullopt;
}

bool holds_layer(const Holding& holding, int64_t layer) {
  return layer >= holding.layer_begin && layer < holding.layer_end;
}

bool holds(const Holding& holding, const ModelConfig& config, TensorId id) {
  if (is_of_experts(id.role)) {
    if (!holding.routed || !holds_layer(holding, id.layer)) return false;
    if (id.expert < 0) return true;
    const ExpertRange held = experts_held(holding, config.layer(id.layer).experts.count);
    return id.expert >= held.begin && id.expert < held.end;
  }
  if (!holding.rest) return false;
  if (id.layer == config.layer_count()) return holding.mtp;
  if (id.layer >= 0) return holds_layer(holding, id.layer);
  return id.role == TensorRole::kEmbedding ? holding.embedding : holding.head;
}

std::vector<HeldTensor> held_tensors(const ModelConfig& config, const Holding& holding) {
  std::vector<HeldTensor> out;
  for (ImpliedTensor& tensor : tensor_list(config)) {
    if (!holds(holding, config, tensor.id)) continue;
    HeldTensor held{{std::move(tensor)}, {}, 0};
    held.whole = held.shape;
    if (is_of_experts(held.id.role)) {
      const ExpertRange range = experts_held(holding, held.shape[0]);
      held.first = range.begin;
      held.shape = held.shape.rank() == 3 ? Shape{range.count(), held.shape[1], held.shape[2]}
                                          : Shape{range.count(), held.shape[1]};
    }
    out.push_back(std::move(held));
  }
  return out;
}

}  // namespace dure
