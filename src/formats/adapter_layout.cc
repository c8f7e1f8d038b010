// Targets by role, and the shapes of their factors.
#include "formats/adapter_layout.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "formats/hf_packing.h"

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

void check_dropout(const LoraOptions& options, const std::string& source) {
  if (options.dropout != 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: lora: dropout is {}; adapters are trained without dropout: leave the field away or "
         "set it to 0",
         source, options.dropout);
  }
}

void check_options(const LoraOptions& options, const std::string& source) {
  check_dropout(options, source);
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

// A product of rank R is any matrix that has a side of R or less.
void warn_of_spare_rank(const AdapterLayout& layout, const ModelConfig& config,
                        const std::string& source) {
  const AdapterTarget* least = nullptr;
  int64_t side = 0, count = 0;
  for (const AdapterTarget& target : layout) {
    const Shape matrix = tensor_shape(target.id(), config);
    const int64_t smaller = std::min(matrix.back(), matrix[matrix.rank() - 2]);
    if (target.rank <= smaller) continue;
    ++count;
    if (least == nullptr || smaller < side) {
      least = &target;
      side = smaller;
    }
  }
  if (least == nullptr) return;
  log_warn(
      "{}: lora.rank is {}, more than the smaller side of {} of the {} matrices ({} has {}): a "
      "rank of {} could say as much there",
      source, least->rank, count, layout.size(), hf_name(least->id(), config), side, side);
}

// What targets of a layout are called in options, in their order.
std::vector<LoraTarget> targets_of(const AdapterLayout& layout) {
  std::vector<LoraTarget> out;
  for (const auto& [kind, name] : enum_names(LoraTarget{})) {
    const std::vector<TensorRole> roles = roles_of(kind);
    const auto is_one = [&](const AdapterTarget& target) {
      return std::ranges::find(roles, target.role) != roles.end();
    };
    if (std::ranges::any_of(layout, is_one)) out.push_back(kind);
  }
  return out;
}

std::string text_of(const std::vector<LoraTarget>& targets) {
  std::string out;
  for (const LoraTarget target : targets)
    out += (out.empty() ? "" : ", ") + std::string(name_of(target));
  return "[" + out + "]";
}

// One matrix of a file has gate and up of all experts: they share A, and are there together.
void require_peft_experts(const LoraOptions& options, const AdapterLayout& layout,
                          const std::string& source) {
  for (size_t i = 0; i < layout.size(); ++i) {
    const bool gate = layout[i].role == TensorRole::kExpertGate;
    const bool paired = gate ? i + 1 < layout.size() && layout[i + 1].shares_down
                             : layout[i].role != TensorRole::kExpertUp || layout[i].shares_down;
    if (paired) continue;
    fail(ErrorCode::kUnsupported,
         "{}: lora.from: {}: gate and up of the experts of layer {} have not one A, as PEFT keeps "
         "them and a run saves them: convert it first (`dure convert {} FOLDER --base MODEL`)",
         source, options.from, layout[i].layer, options.from);
  }
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
  warn_of_spare_rank(layout, config, source);
  return layout;
}

void require_plain_experts(const AdapterLayout& layout, const ModelConfig& config,
                           const std::string& source) {
  for (const AdapterTarget& target : layout) {
    if (is_expert(target.role) && packed_place({target.role, target.layer, 0}, config))
      fail(ErrorCode::kUnsupported,
           "{}: lora.targets: experts: those of this model are packed in its files, and an adapter "
           "of them cannot be written as PEFT has it: leave experts out",
           source);
  }
}

void require_lora(const LoraOptions& options, const AdapterLayout& layout,
                  const ModelConfig& config, const std::string& source) {
  check_dropout(options, source);
  const auto refuse = [&](const char* field, const auto& given, const auto& there) {
    fail(ErrorCode::kInvalidArgument,
         "{}: lora.{} is {}, and the adapter that lora.from names has {} ({}): leave the field "
         "away, or leave lora.from away for a new adapter",
         source, field, given, there, options.from);
  };
  for (const AdapterTarget& target : layout) {
    if (options.rank > 0 && options.rank != target.rank)
      refuse("rank", options.rank,
             fmt::format("{} at {}", target.rank, hf_name(target.id(), config)));
    if (options.alpha > 0 && options.alpha != target.alpha)
      refuse("alpha", options.alpha,
             fmt::format("{} at {}", target.alpha, hf_name(target.id(), config)));
    if (options.rslora && !target.rank_stabilised) refuse("rslora", true, false);
  }
  const std::vector<LoraTarget> there = targets_of(layout);
  std::vector<LoraTarget> given = options.targets;
  std::ranges::sort(given);
  if (!given.empty() && given != there) refuse("targets", text_of(options.targets), text_of(there));
  require_plain_experts(layout, config, source);
  require_peft_experts(options, layout, source);
}

}  // namespace dure
