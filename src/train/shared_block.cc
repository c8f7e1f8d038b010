// Trees side by side, then the exchange of runs that the shards say.
#include "train/shared_block.h"

#include <algorithm>

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

std::vector<GradientPiece> gradient_pieces(const ParameterLayout& layout, int64_t layer_count) {
  const auto completed_with = [&](const TensorId& id) -> int64_t {
    if (id.role == TensorRole::kEmbedding) return -1;
    return id.layer >= 0 && id.layer < layer_count ? id.layer : layer_count;
  };
  std::vector<GradientPiece> pieces;
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    const int64_t layer = completed_with(layout.tensors[i].id);
    const bool last = i + 1 == layout.tensors.size();
    const int64_t end = last ? layout.elements : layout.offsets[i + 1];
    if (pieces.empty() || pieces.back().layer != layer)
      pieces.push_back({layer, layout.offsets[i]});
    pieces.back().count = end - pieces.back().first;
  }
  std::ranges::stable_sort(pieces, std::greater(), &GradientPiece::layer);
  return pieces;
}

std::vector<int64_t> shares_of_piece(const GradientPiece& piece, const Shards& shards) {
  std::vector<int64_t> shares;
  for (size_t r = 0; r < shards.elements.size(); ++r) {
    const int64_t first = std::max(piece.first, shards.first_elements[r]),
                  end = std::min(piece.first + piece.count, shards.first_elements[r + 1]);
    shares.push_back(std::max<int64_t>(0, end - first));
  }
  return shares;
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
  pieces_ = gradient_pieces(layout, masters.config().layer_count());
  if (group_->size() == 1) return;
  room_ = HostCopy<float>(sum().flat().elements(), device);
  landing_ = HostLanding<float>(sum().flat().elements(), device);
  summing_ = std::make_unique<SummingThread>(
      facts.by == BlockFacts::SharedBy::kBatch ? mesh.batch_sums() : mesh.data_sums());
}

void SharedBlock::next_part(Stream& stream) {
  for (GradientTree& tree : trees_) tree.next_part(stream);
}

void SharedBlock::fold(const GradientPiece& piece, Stream& stream) {
  for (GradientTree& tree : trees_) tree.fold(piece.first, piece.count, stream);
  const auto of = [&](size_t source) {
    return trees_[source].sum().flat().rows(piece.first, piece.count);
  };
  for (size_t apart = 1; apart < trees_.size(); apart *= 2)
    for (size_t s = 0; s + apart < trees_.size(); s += 2 * apart)
      add_to(of(s + apart), of(s), stream);
}

void SharedBlock::clear(Stream& stream) {
  for (GradientTree& tree : trees_) tree.clear(stream);
}

void SharedBlock::freeze_router() {
  for (GradientTree& tree : trees_) tree.freeze_router();
}

// Where the memory is not the host's there is room for one piece at a time.
void SharedBlock::hand_over(const GradientPiece& piece, Stream& stream) {
  const TensorView there = sum().flat().rows(piece.first, piece.count);
  const std::span<const float> values = room_.of(there, stream);
  std::span<float> rest = landing_.of(there, stream);
  if (rest.data() != values.data()) std::ranges::copy(values, rest.begin());
  std::vector<std::span<float>> parts;
  for (const int64_t share : shares_of_piece(piece, shards_)) {
    parts.push_back(rest.first(static_cast<size_t>(share)));
    rest = rest.subspan(parts.back().size());
  }
  summing_->hand_over(std::move(parts));
  if (stream.device() == Device::kCpu) return;
  summing_->finish();
  landing_.taken(there, stream);
}

void SharedBlock::complete(int64_t layer, Stream& stream) {
  for (; handed_ < pieces_.size() && pieces_[handed_].layer >= layer; ++handed_) {
    fold(pieces_[handed_], stream);
    if (summing_) hand_over(pieces_[handed_], stream);
  }
}

void SharedBlock::reduce(Stream& stream) {
  complete(-1, stream);
  handed_ = 0;
  for (GradientTree& tree : trees_) tree.fold_done();
  if (summing_) summing_->finish();
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
