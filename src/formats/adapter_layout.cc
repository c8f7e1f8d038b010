// Targets by role, and the shapes of their factors.
#include "formats/adapter_layout.h"

#include <algorithm>
#include <cmath>

namespace dure {
namespace {

std::vector<TensorRole> roles_of(LoraTarget target) {
  using enum TensorRole;
  switch (target) {
    case LoraTarget::kAttention:
      return {kQ, kK, kV, kO};
    case LoraTarget::kDense:
      return {kGate, kUp, kDown};
    case LoraTarget::kShared:
      return {kSharedGate, kSharedUp, kSharedDown};
    case LoraTarget::kExperts:
      return {kExpertGate, kExpertUp, kExpertDown};
    case LoraTarget::kHead:
      return {kHead};
  }
  return {};
}

constexpr const char* kTargets = "attention, dense, shared, experts, head";

void check_options(const LoraOptions& options, const std::string& source) {
  if (options.dropout != 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: lora: dropout is {}; adapters are trained without dropout: leave the field away or "
         "set it to 0",
         source, options.dropout);
  }
  if (options.targets.empty())
    fail(ErrorCode::kInvalidArgument, "{}: lora: targets is empty; name at least one of {}", source,
         kTargets);
}

// Adds the model's matrices of a target; true where there are any.
bool mark(LoraTarget target, const std::vector<ImpliedTensor>& tensors, std::vector<bool>& wanted) {
  const std::vector<TensorRole> roles = roles_of(target);
  bool any = false;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (std::find(roles.begin(), roles.end(), tensors[i].id.role) == roles.end()) continue;
    wanted[i] = true;
    any = true;
  }
  return any;
}

Shape with_rank(const Shape& matrix, int64_t rank, int64_t width) {
  if (matrix.rank() == 3) return {matrix[0], rank, width};
  return {rank, width};
}

bool can_be_adapted(TensorId id, const ModelConfig& config) {
  if (id.layer >= config.layer_count()) return false;
  const TensorKind kind = role_kind(id.role);
  return kind == TensorKind::kHead ||
         (id.layer >= 0 && (kind == TensorKind::kMatrix || kind == TensorKind::kExperts));
}

}  // namespace

double AdapterTarget::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rank_stabilised ? std::sqrt(r) : r);
}

Shape down_shape(const AdapterTarget& target, const ModelConfig& config) {
  const Shape matrix = tensor_shape(target.id(), config);
  return with_rank(matrix, target.rank, matrix.back());
}

Shape up_shape(const AdapterTarget& target, const ModelConfig& config) {
  const Shape matrix = tensor_shape(target.id(), config);
  return with_rank(matrix, target.rank, matrix[matrix.rank() - 2]);
}

int64_t adapter_parameters(const AdapterLayout& layout, const ModelConfig& config) {
  int64_t sum = 0;
  for (const AdapterTarget& target : layout) {
    if (!target.shares_down) sum += down_shape(target, config).elements();
    sum += up_shape(target, config).elements();
  }
  return sum;
}

int64_t largest_rank(const AdapterLayout& layout) {
  int64_t rank = 0;
  for (const AdapterTarget& target : layout) rank = std::max(rank, target.rank);
  return rank;
}

std::vector<ImpliedTensor> adaptable_tensors(const ModelConfig& config) {
  std::vector<ImpliedTensor> out;
  for (ImpliedTensor& tensor : implied_stacks(config)) {
    if (can_be_adapted(tensor.id, config)) out.push_back(std::move(tensor));
  }
  if (config.tied_embeddings) {
    const TensorId head{TensorRole::kHead};
    out.push_back({head, hf_name(head, config), tensor_shape(head, config), TensorKind::kHead});
  }
  return out;
}

void check_lora(LoraOptions options, const std::string& source) {
  if (options.wanted()) return;
  const Json fields = to_json(options), plain = to_json(LoraOptions{});
  for (const auto& [name, value] : fields.as_object()) {
    if (value != plain.at(name))
      fail(ErrorCode::kInvalidArgument,
           "{}: lora.{} is {} and lora.rank is 0, which trains the whole model: give lora.rank, or "
           "leave lora away",
           source, name, value.dump());
  }
}

AdapterLayout adapter_layout(const LoraOptions& options, const ModelConfig& config,
                             const std::string& source) {
  check_options(options, source);
  const std::vector<ImpliedTensor> tensors = adaptable_tensors(config);
  std::vector<bool> wanted(tensors.size(), false);
  for (const LoraTarget target : options.targets) {
    if (!mark(target, tensors, wanted))
      fail(ErrorCode::kInvalidArgument, "{}: lora: targets: {}: the model has no such matrix",
           source, name_of(target));
  }
  AdapterLayout layout;
  const double alpha = options.alpha > 0 ? options.alpha : 2 * static_cast<double>(options.rank);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!wanted[i]) continue;
    const TensorId id = tensors[i].id;
    layout.push_back({.role = id.role,
                      .layer = id.layer,
                      .rank = options.rank,
                      .alpha = alpha,
                      .rank_stabilised = options.rslora,
                      .shares_down = id.role == TensorRole::kExpertUp});
  }
  return layout;
}

}  // namespace dure
