// Trees side by side, the exchange of runs, and factor by factor what all are told.
#include "train/shared_adapter.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/rows.h"
#include "train/learner.h"

namespace dure {
namespace {

// Where the factors of a block lie, as share_out() reads it.
ParameterLayout layout_of(const AdapterParameters& factors) {
  ParameterLayout out;
  out.elements = factors.flat().elements();
  for (const AdapterParameter& p : factors.list()) out.offsets.push_back(p.offset);
  return out;
}

// What a rank tells the others: each factor is one rank's to tell. Nothing of what data ranks, and
// of all but routed experts expert ranks, have alike.
std::vector<AdapterFactor> told_by(const ModelConfig& config, const AdapterLayout& layout,
                                   const MeshShape& shape, const MeshPlace& place,
                                   const std::vector<int64_t>& stage_layers) {
  if (place.data > 0) return {};
  Holding holding = holding_of(shape, place, stage_layers);
  holding.rest = place.expert == 0;
  return held_factors(config, layout, holding);
}

}  // namespace

int64_t told_elements(const ModelConfig& config, const AdapterLayout& layout,
                      const MeshShape& shape, const MeshPlace& place,
                      const std::vector<int64_t>& stage_layers) {
  int64_t elements = 0;
  for (const AdapterFactor& factor : told_by(config, layout, shape, place, stage_layers))
    elements += factor.shape.elements();
  return elements;
}

SharedAdapter::Tree::Tree(const ModelConfig& config, const AdapterLayout& layout,
                          const Holding& holding, int64_t parts, Device device) {
  for (int64_t i = 0; i < GradientTree::block_count(parts); ++i)
    blocks_.emplace_back(config, layout, holding, device);
  for (const AdapterParameters& block : blocks_) places_.push_back(block.by_place());
}

void SharedAdapter::Tree::merge(Stream& stream) {
  --used_;
  add_to(blocks_[used_].flat(), blocks_[used_ - 1].flat(), stream);
}

void SharedAdapter::Tree::next_part(Stream& stream) {
  ++closed_;
  for (int64_t count = closed_; count % 2 == 0; count /= 2) merge(stream);
  DURE_CHECK(used_ < blocks_.size(), "{} parts where fewer were planned", closed_ + 1);
  blocks_[used_].zero(stream);
  ++used_;
}

void SharedAdapter::Tree::fold(Stream& stream) {
  while (used_ > 1) merge(stream);
  closed_ = 0;
}

int64_t SharedAdapter::gradient_bytes(const ModelConfig& config, const AdapterLayout& layout,
                                      const MeshShape& shape, const Holding& holding,
                                      int64_t parts) {
  int64_t bytes = 0;
  for (const BlockFacts& facts : blocks_of(shape, holding))
    bytes += facts.sources * GradientTree::block_count(parts) *
             AdapterParameters::bytes(config, layout, facts.holding);
  return bytes;
}

SharedAdapter::SharedAdapter(const ModelConfig& config, const AdapterLayout& layout,
                             const Holding& holding, int64_t parts, Mesh& mesh, Device device)
    : config_(config), mesh_(mesh), factors_(config, layout, holding, device) {
  int64_t largest = 0;
  for (const AdapterParameter& p : factors_.list()) largest = std::max(largest, p.view.elements());
  room_ = HostCopy<float>(largest, device);
  for (const BlockFacts& facts : blocks_of(mesh.shape(), holding)) {
    Block& block = blocks_.emplace_back();
    block.group = facts.by == BlockFacts::SharedBy::kBatch ? &mesh.batch() : &mesh.data();
    for (int64_t s = 0; s < facts.sources; ++s)
      block.trees.emplace_back(config, layout, facts.holding, parts, device);
    const AdapterParameters& sum = block.trees[0].sum();
    std::vector<int64_t> costs;
    for (const AdapterParameter& p : sum.list()) {
      costs.push_back(p.view.elements());
      const auto same = [&](const AdapterParameter& q) {
        return q.target == p.target && q.is_up == p.is_up;
      };
      const auto at = std::ranges::find_if(factors_.list(), same);
      block.places.push_back(static_cast<size_t>(at - factors_.list().begin()));
    }
    block.shards = share_out(layout_of(sum), costs, block.group->size());
    if (!block.places.empty()) block.base = factors_.list()[block.places[0]].offset;
    if (block.group->size() > 1) block.room = HostCopy<float>(sum.flat().elements(), device);
  }
}

void SharedAdapter::for_own(const std::function<void(const AdapterFactor&, TrainedTensor)>& use) {
  for (Block& block : blocks_) {
    for (size_t i = 0; i < block.places.size(); ++i) {
      if (!block.shards.owns(block.group->rank(), i)) continue;
      const AdapterParameter& p = factors_.list()[block.places[i]];
      use(p, {p.name, TensorKind::kAdapter, p.view, block.trees[0].sum().list()[i].view,
              p.norm_pieces()});
    }
  }
}

std::vector<NamedTensor> SharedAdapter::moments(const OptimiserOptions& options,
                                                std::span<const NamedTensor> state,
                                                Device device) const {
  std::vector<NamedTensor> out;
  for (const AdapterFactor& whole : held_factors(config_, factors_.layout())) {
    const auto held = std::ranges::find(factors_.list(), whole.name, &AdapterParameter::name);
    for (const std::string& prefix : moment_prefixes(options, TensorKind::kAdapter)) {
      const auto own = std::ranges::find(state, prefix + whole.name, &NamedTensor::name);
      if (own == state.end()) {
        out.push_back({prefix + whole.name, {nullptr, whole.shape, DType::kF32, device}, true});
      } else {
        out.push_back({own->name, own->view, false, whole.shape, held->first});
      }
    }
  }
  return out;
}

void SharedAdapter::next_part(Stream& stream) {
  for (Block& block : blocks_)
    for (Tree& tree : block.trees) tree.next_part(stream);
}

void SharedAdapter::fold(Stream& stream) {
  for (Block& block : blocks_) {
    std::vector<Tree>& trees = block.trees;
    for (Tree& tree : trees) tree.fold(stream);
    for (size_t apart = 1; apart < trees.size(); apart *= 2)
      for (size_t s = 0; s + apart < trees.size(); s += 2 * apart)
        add_to(trees[s + apart].sum().flat(), trees[s].sum().flat(), stream);
  }
}

void SharedAdapter::clear(Stream& stream) {
  for (Block& block : blocks_)
    for (Tree& tree : block.trees) tree.sum().zero(stream);
}

TensorView SharedAdapter::run_of(const Block& block, int rank) const {
  const auto r = static_cast<size_t>(rank);
  return factors_.flat().rows(block.base + block.shards.first_elements[r],
                              block.shards.elements[r]);
}

void SharedAdapter::reduce(Stream& stream) {
  fold(stream);
  for (Block& block : blocks_) {
    Group& group = *block.group;
    if (group.size() == 1) continue;
    const auto r = static_cast<size_t>(group.rank());
    const TensorView sum = block.trees[0].sum().flat();
    const TensorView own = sum.rows(block.shards.first_elements[r], block.shards.elements[r]);
    const Group::TakePart<float> take = [&](int64_t first, std::span<const float> sums) {
      copy_from_host(sums, own.rows(first, std::ssize(sums)), stream);
    };
    group.reduce_scatter(block.room.of(sum, stream), block.shards.elements, take,
                         "sum of gradients");
  }
}

void SharedAdapter::gather(Stream& stream) {
  for (Block& block : blocks_) {
    Group& group = *block.group;
    if (group.size() == 1) continue;
    const Group::TakeShare<float> take = [&](int member, int64_t first,
                                             std::span<const float> values) {
      copy_from_host(values, run_of(block, member).rows(first, std::ssize(values)), stream);
    };
    group.all_gather(block.room.of(run_of(block, group.rank()), stream), block.shards.elements,
                     take, "gather of weights");
  }
}

void SharedAdapter::tell_all(const std::vector<int64_t>& stage_layers, const Take& take,
                             Stream& stream) {
  Group& world = mesh_.world();
  std::vector<float> came;
  for (int rank = 0; rank < world.size(); ++rank) {
    for (const AdapterFactor& factor : told_by(config_, factors_.layout(), mesh_.shape(),
                                               place_in(mesh_.shape(), rank), stage_layers)) {
      std::vector<int64_t> counts(static_cast<size_t>(world.size()));
      counts[static_cast<size_t>(rank)] = factor.shape.elements();
      std::span<const float> own;
      if (rank == world.rank()) {
        const auto at = std::ranges::find(factors_.list(), factor.name, &AdapterParameter::name);
        own = room_.of(at->view, stream);
        take(factor, own);
      } else {
        came.resize(static_cast<size_t>(factor.shape.elements()));
      }
      const Group::TakeShare<float> arrives = [&](int, int64_t first,
                                                  std::span<const float> values) {
        std::ranges::copy(values, came.begin() + first);
      };
      world.all_gather(own, counts, arrives, "gather of an adapter");
      if (rank != world.rank()) take(factor, came);
    }
  }
}

AdapterContent SharedAdapter::content(const std::vector<int64_t>& stage_layers, Stream& stream) {
  if (factors_.holding().whole()) return factors_.content(stream);
  AdapterContent out{.layout = factors_.layout()};
  out.factors.resize(out.layout.size());
  tell_all(
      stage_layers,
      [&](const AdapterFactor& factor, std::span<const float> values) {
        AdapterFactors& there = out.factors[factor.target];
        std::vector<float>& whole = factor.is_up ? there.up : there.down;
        whole.resize(static_cast<size_t>(factor.whole.elements()));
        std::ranges::copy(values, whole.begin() + factor.first_element());
      },
      stream);
  return out;
}

}  // namespace dure
