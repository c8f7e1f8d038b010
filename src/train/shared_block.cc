// Trees side by side, then the exchange of runs that the shards say.
#include "train/shared_block.h"

#include "kernels/rows.h"

namespace dure {

std::vector<BlockFacts> blocks_of(const MeshShape& shape, const Holding& holding) {
  if (shape.expert == 1) return {{.holding = holding}};
  BlockFacts rest{.holding = holding};
  BlockFacts routed{.holding = holding, .sources = shape.expert, .by = BlockFacts::SharedBy::kData};
  rest.holding.routed = false;
  routed.holding.rest = false;
  return {rest, routed};
}

std::vector<int64_t> costs_of(const ParameterLayout& layout, const TensorCost& cost) {
  std::vector<int64_t> costs;
  for (const HeldTensor& tensor : layout.tensors) costs.push_back(cost(tensor));
  return costs;
}

SharedBlock::SharedBlock(Parameters& masters, const BlockFacts& facts, int64_t parts,
                         const TensorCost& cost, Mesh& mesh, Device device)
    : masters_(&masters),
      group_(facts.by == BlockFacts::SharedBy::kBatch ? &mesh.batch() : &mesh.data()) {
  for (int64_t s = 0; s < facts.sources; ++s)
    trees_.emplace_back(masters.config(), facts.holding, parts, device);
  const ParameterLayout layout = layout_of(masters.config(), facts.holding);
  shards_ = share_out(layout, costs_of(layout, cost), group_->size());
  if (!list().empty()) base_ = masters.list()[masters.place(list()[0].id)].offset;
  if (group_->size() > 1) room_ = HostCopy<float>(sum().flat().elements(), device);
}

void SharedBlock::next_part(Stream& stream) {
  for (GradientTree& tree : trees_) tree.next_part(stream);
}

void SharedBlock::fold(Stream& stream) {
  for (GradientTree& tree : trees_) tree.fold(stream);
  for (size_t apart = 1; apart < trees_.size(); apart *= 2)
    for (size_t s = 0; s + apart < trees_.size(); s += 2 * apart)
      add_to(trees_[s + apart].sum().flat(), trees_[s].sum().flat(), stream);
}

void SharedBlock::clear(Stream& stream) {
  for (GradientTree& tree : trees_) tree.clear(stream);
}

void SharedBlock::freeze_router() {
  for (GradientTree& tree : trees_) tree.freeze_router();
}

void SharedBlock::reduce(Stream& stream) {
  if (group_->size() == 1) return;
  const TensorView own = shards_.of(group_->rank(), sum());
  const Group::TakePart<float> take = [&](int64_t first, std::span<const float> sums) {
    copy_from_host(sums, own.rows(first, std::ssize(sums)), stream);
  };
  group_->reduce_scatter(room_.of(sum().flat(), stream), shards_.elements, take,
                         "sum of gradients");
}

TensorView SharedBlock::run_of_masters(int rank) const {
  const auto r = static_cast<size_t>(rank);
  return masters_->flat().rows(base_ + shards_.first_elements[r], shards_.elements[r]);
}

void SharedBlock::gather(Stream& stream) {
  if (group_->size() == 1) return;
  const Group::TakeShare<float> take = [&](int member, int64_t first,
                                           std::span<const float> values) {
    copy_from_host(values, run_of_masters(member).rows(first, std::ssize(values)), stream);
  };
  group_->all_gather(room_.of(run_of_masters(group_->rank()), stream), shards_.elements, take,
                     "gather of weights");
}

}  // namespace dure
