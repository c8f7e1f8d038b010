// Tensor by tensor: each rank's experts to its expert group, then each stage's tensors to the
// others.
#include "train/gathered_weights.h"

#include <algorithm>

#include "kernels/rows.h"
#include "model/load.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

void set(WeightView& field, TensorView view) { field = {.data = view}; }
void set(ConstTensorView& field, TensorView view) { field = view; }

ConstTensorView flat(ConstTensorView view) { return view.reshaped({view.elements()}); }
TensorView flat(TensorView view) { return view.reshaped({view.elements()}); }

// What a rank of stage `own` copies of stage `stage`; nothing: the ranks of its own stage have all
// experts.
std::optional<Holding> copied(const MeshShape& shape, int64_t own, int64_t stage,
                              const std::vector<int64_t>& stage_layers) {
  if (stage == own && shape.expert == 1) return std::nullopt;
  Holding holding = sampled_holding({stage, shape.pipeline}, stage_layers);
  if (stage == own) holding.rest = false;
  return holding;
}

int64_t largest(const ModelConfig& config) {
  int64_t elements = 0;
  for (const ImpliedTensor& tensor : tensor_list(config))
    elements = std::max(elements, tensor.shape.elements());
  return elements;
}

}  // namespace

int64_t GatheredWeights::bytes(const ModelConfig& config, const MeshShape& shape,
                               const MeshPlace& place, const std::vector<int64_t>& stage_layers,
                               Arithmetic arithmetic) {
  int64_t bytes = 0;
  for (int64_t stage = 0; stage < shape.pipeline; ++stage) {
    const auto holding = copied(shape, place.pipeline, stage, stage_layers);
    if (!holding) continue;
    bytes += Parameters::bytes(config, *holding);
    if (arithmetic == Arithmetic::kBf16) bytes += Bf16Copies::bytes(config, *holding);
  }
  return bytes;
}

GatheredWeights::GatheredWeights(Learner& learner, std::shared_ptr<const ModelFiles> files,
                                 Stream& stream)
    : learner_(learner), stream_(stream) {
  if (const AdapterParameters* factors = learner.adapter()) {
    adapter_.emplace(learner.config(), factors->layout(), stream.device());
    weights_ = open_weights(std::move(files), learner.arithmetic());
    weights_.adapter = std::make_shared<ModelAdapter>(adapter_->bind());
  } else {
    weights_ = learner.own_weights();
    room_ = HostCopy<float>(largest(learner.config()), stream.device());
    bind_copies();
  }
}

void GatheredWeights::bind_copies() {
  const MeshShape& shape = learner_.mesh().shape();
  for (int64_t stage = 0; stage < shape.pipeline; ++stage) {
    stages_.emplace_back();
    const auto holding =
        copied(shape, learner_.mesh().place().pipeline, stage, learner_.stage_layers());
    if (!holding) continue;
    stages_.back() = std::make_unique<Copies>(learner_.config(), *holding, stream_.device());
    Copies& copies = *stages_.back();
    visit_tensors(weights_.config, weights_, [&](const ImpliedTensor& tensor, auto& field) {
      if (copies.parameters.has(tensor.id)) set(field, copies.parameters.view(tensor.id));
    });
    if (learner_.arithmetic() != Arithmetic::kBf16) continue;
    copies.rounded.emplace(copies.parameters, stream_);
    copies.rounded->bind(weights_);
  }
}

ConstTensorView GatheredWeights::own(TensorId id) const {
  const auto& copies = stages_[static_cast<size_t>(learner_.mesh().place().pipeline)];
  return copies && copies->parameters.has(id) ? copies->parameters.view(id)
                                              : learner_.parameters().view(id);
}

void GatheredWeights::gather_experts() {
  const auto& copies = stages_[static_cast<size_t>(learner_.mesh().place().pipeline)];
  if (!copies) return;
  Group& group = learner_.mesh().expert();
  for (const Parameter& p : copies->parameters.list()) {
    const TensorView whole = flat(p.view);
    const TensorView held = flat(learner_.parameters().view(p.id));
    const int64_t each = held.elements();
    const std::vector<int64_t> counts(static_cast<size_t>(group.size()), each);
    const Group::TakeShare<float> take = [&](int member, int64_t first,
                                             std::span<const float> values) {
      copy_from_host(values, whole.rows(member * each + first, std::ssize(values)), stream_);
    };
    copy_to(held, whole.rows(group.rank() * each, each), stream_);
    group.all_gather(room_.of(held, stream_), counts, take, "gather of experts");
  }
}

// The n-th tensor of every stage travels at once.
void GatheredWeights::gather_stages() {
  Group& group = learner_.mesh().pipeline();
  if (group.size() == 1) return;
  std::vector<std::vector<HeldTensor>> lists;
  size_t most = 0;
  for (int64_t stage = 0; stage < group.size(); ++stage) {
    lists.push_back(held_tensors(learner_.config(),
                                 sampled_holding({stage, group.size()}, learner_.stage_layers())));
    most = std::max(most, lists.back().size());
  }
  for (size_t n = 0; n < most; ++n) {
    std::vector<int64_t> counts;
    for (const auto& list : lists) counts.push_back(n < list.size() ? list[n].shape.elements() : 0);
    const auto id_of = [&](int stage) { return lists[static_cast<size_t>(stage)][n].id; };
    const Group::TakeShare<float> take = [&](int stage, int64_t first,
                                             std::span<const float> values) {
      const Parameters& there = stages_[static_cast<size_t>(stage)]->parameters;
      copy_from_host(values, flat(there.view(id_of(stage))).rows(first, std::ssize(values)),
                     stream_);
    };
    std::span<const float> mine;
    if (counts[static_cast<size_t>(group.rank())] > 0)
      mine = room_.of(flat(own(id_of(group.rank()))), stream_);
    group.all_gather(mine, counts, take, "gather of layers");
  }
}

void GatheredWeights::gather_adapter() {
  learner_.shared_adapter()->tell_all(
      learner_.stage_layers(),
      [&](const AdapterFactor& factor, std::span<const float> values) {
        const auto at = std::ranges::find(adapter_->list(), factor.name, &AdapterParameter::name);
        copy_from_host(values, flat(at->view).rows(factor.first_element(), std::ssize(values)),
                       stream_);
      },
      stream_);
}

void GatheredWeights::refresh() {
  const int64_t before = learner_.mesh().traffic().sent_bytes;
  if (adapter_) {
    gather_adapter();
  } else {
    gather_experts();
    gather_stages();
  }
  sent_bytes_ += learner_.mesh().traffic().sent_bytes - before;
  for (const auto& copies : stages_)
    if (copies && copies->rounded) copies->rounded->refresh(stream_);
}

}  // namespace dure
