// The learner's own sums, over tensors that are not allocated.
#include "train/rank_shares.h"

#include <algorithm>

namespace dure {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);

SharedTensors share_block(const ModelConfig& config, const LearnerOptions& options,
                          const MeshShape& shape, const BlockFacts& facts) {
  const auto [layout, costs, shards] = shares_of(config, options, shape, facts);
  SharedTensors out{
      .facts = facts, .bytes = layout.elements * kFloatBytes, .elements = shards.elements};
  for (const GradientPiece& piece : gradient_pieces(layout, config.layer_count()))
    out.pieces.push_back(shares_of_piece(piece, shards));
  for (int r = 0; r < static_cast<int>(facts.ranks(shape)); ++r) {
    int64_t moments = 0;
    std::vector<Shape>& muon = out.muon.emplace_back();
    for (size_t t = 0; t < layout.tensors.size(); ++t) {
      if (!shards.owns(r, t) || costs[t] == 0) continue;
      moments += costs[t] * kFloatBytes;
      if (update_rule(options.optimiser, layout.tensors[t].kind) == UpdateRule::kMuon)
        muon.push_back(layout.tensors[t].shape);
    }
    out.moment_bytes.push_back(moments);
  }
  return out;
}

}  // namespace

BlockShares shares_of(const ModelConfig& config, const LearnerOptions& options,
                      const MeshShape& shape, const BlockFacts& facts) {
  BlockShares out{.layout = layout_of(config, facts.holding)};
  out.costs =
      costs_of(out.layout, [&](const ImpliedTensor& t) { return update_cost(options, config, t); });
  out.shards = share_out(out.layout, out.costs, static_cast<int>(facts.ranks(shape)));
  return out;
}

int64_t SharedTensors::scratch_bytes(size_t rank, int64_t thread_count) const {
  int64_t floats = 0;
  for (const Shape& shape : muon[rank])
    floats = std::max(floats, muon_workspace_floats(shape, thread_count));
  return floats * kFloatBytes;
}

int64_t SharedTensors::summing_bytes(size_t rank) const {
  int64_t most = 0;
  for (const std::vector<int64_t>& piece : pieces) most = std::max(most, piece[rank]);
  return kFloatBytes * (std::ssize(elements) - 1) * std::min(most, kRoundElements);
}

int64_t SharedTensors::gather_bytes(size_t rank) const {
  int64_t gathered = 0;
  for (size_t r = 0; r < elements.size(); ++r)
    gathered += r == rank ? 0 : std::min(elements[r], kRoundElements);
  return kFloatBytes * gathered;
}

std::vector<SharedTensors> share_tensors(const ModelConfig& config, const LearnerOptions& options,
                                         const MeshShape& shape, int64_t stage) {
  std::vector<SharedTensors> out;
  const Holding holding = holding_of(shape, {.pipeline = stage}, options.stage_layers);
  for (const BlockFacts& facts : blocks_of(shape, holding))
    out.push_back(share_block(config, options, shape, facts));
  return out;
}

}  // namespace dure
