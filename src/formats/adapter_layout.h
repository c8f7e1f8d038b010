// formats/adapter_layout.h: which matrices of a model an adapter adds to, with what rank and scale:
// all that is known of an adapter before its values.
//
// An adapter adds to a product: y = W x + scale * B (A x), A: [R, K], B: [N, R] (LoRA, arXiv
// 2106.09685); scale = alpha / R, or alpha / sqrt(R) where it is rank-stabilised (rsLoRA, arXiv
// 2312.03732). Routed experts have a pair each, in stacks [E, R, K] and [E, N, R]. Here and in
// model/ the factors are `down`, A as it is, and `up`, B transposed: [R, N] or [E, R, N]: rank
// first in both. Not here: the values (adapter_files.h), what a forward does (model/adapter.h).
#pragma once

#include <string>
#include <vector>

#include "base/options.h"
#include "formats/tensor_names.h"

namespace dure {

// One addition to the matrix, or to the stack of experts, of a role. At most one for each.
struct AdapterTarget {
  TensorRole role = TensorRole::kQ;
  int64_t layer = -1;  // -1: the head
  int64_t rank = 0;    // R
  double alpha = 0;
  bool rank_stabilised = false;
  // The `down` factor is that of the target before it in the list, which reads the same x: experts
  // whose gate and up projections are one matrix in their files share A.
  bool shares_down = false;

  double scale() const;
  TensorId id() const { return {role, layer, -1}; }
  bool operator==(const AdapterTarget&) const = default;
};

// In the order of adaptable_tensors().
using AdapterLayout = std::vector<AdapterTarget>;

// What an adapter may add to, experts as stacks: the matrices of the main model's layers but the
// router's, and the head (of its own where it is tied to the embedding), in implied_stacks()'s
// order.
std::vector<ImpliedTensor> adaptable_tensors(const ModelConfig& config);

Shape down_shape(const AdapterTarget& target, const ModelConfig& config);  // [R, K] or [E, R, K]
Shape up_shape(const AdapterTarget& target, const ModelConfig& config);    // [R, N] or [E, R, N]
int64_t adapter_parameters(const AdapterLayout& layout, const ModelConfig& config);
int64_t largest_rank(const AdapterLayout& layout);  // 0 of an empty one

enum class LoraTarget : uint8_t { kAttention, kDense, kShared, kExperts, kHead };
constexpr auto enum_names(LoraTarget) {
  return std::to_array<EnumName<LoraTarget>>({{LoraTarget::kAttention, "attention"},
                                              {LoraTarget::kDense, "dense"},
                                              {LoraTarget::kShared, "shared"},
                                              {LoraTarget::kExperts, "experts"},
                                              {LoraTarget::kHead, "head"}});
}

// `lora:` of a run's configuration; the names are PEFT's where it has them.
struct LoraOptions {
  std::string from;  // an adapter that is trained further; empty: a new one
  int64_t rank = 0;  // 0 without `from`: no adapter, all weights are trained
  double alpha = 0;  // 0: twice the rank
  bool rslora = false;
  std::vector<LoraTarget> targets = {LoraTarget::kAttention};
  double dropout = 0;

  bool wanted() const { return rank > 0 || !from.empty(); }
  // An adapter that is there has targets of its own.
  void take_defaults(const Json& fields, const std::string&) {
    const Json* given = fields.find("from");
    if (given != nullptr && *given != Json("")) targets.clear();
  }
  template <typename V>
  void visit(V& v) {
    v("from", from,
      "an adapter that is trained further, a PEFT folder or a GGUF file (empty: a new one); rank, "
      "alpha, rslora and targets are then its own, and may be left away");
    v("rank", rank, "of the adapter's factors (0: no adapter, the model itself is trained)",
      between(0, 4096));
    v("alpha", alpha, "the addition is multiplied by alpha / rank (0: twice the rank)",
      at_least(0));
    v("rslora", rslora, "rank-stabilised: alpha / sqrt(rank)");
    v("targets", targets,
      "what is added to: attention (q, k, v, o), dense (feed-forwards of dense layers), shared "
      "(experts), experts (routed ones), head");
    v("dropout", dropout, "of the adapter's input: must be 0", between(0, 1));
  }
};

// Throws kInvalidArgument where fields say what an adapter should be and none is asked for: all
// weights would be trained. `source` names the configuration.
void check_lora(LoraOptions options, const std::string& source);

// The layout of a new adapter that `options` ask for: the layers of the main model (the MTP layer
// has none), experts' gate and up with one `down`, as PEFT's target_parameters has them. A rank
// above a matrix's smaller side, which says no more than that side would, is told once. Throws
// kInvalidArgument naming the field of `source` (dropout; a target that the model has no matrix of;
// none).
AdapterLayout adapter_layout(const LoraOptions& options, const ModelConfig& config,
                             const std::string& source);

// Throws kUnsupported for what a run could not save: experts that are packed in the model's files.
void require_plain_experts(const AdapterLayout& layout, const ModelConfig& config,
                           const std::string& source);

// Throws kInvalidArgument naming the field of `source` that says otherwise than the adapter which
// options.from names, of this layout: rank, alpha, rslora, targets; fields that are left away say
// nothing. And kUnsupported where a run could not save the layout as PEFT keeps it.
void require_lora(const LoraOptions& options, const AdapterLayout& layout,
                  const ModelConfig& config, const std::string& source);

}  // namespace dure
