// One line of the table of docs/ranks.md after the other.
#include "train/rank_traffic.h"

#include "kernels/optimiser.h"
#include "train/rank_shares.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

double number(int64_t value) { return static_cast<double>(value); }

// One block's share of gradients, norm and weights.
void add_block(const ModelConfig& config, const LearnerOptions& options, const MeshShape& shape,
               const MeshPlace& place, const BlockFacts& facts, StepTraffic& out) {
  const auto [layout, costs, shards] = shares_of(config, options, shape, facts);
  const int64_t ranks = facts.ranks(shape), rank = facts.rank(shape, place);
  const double own = number(shards.elements[static_cast<size_t>(rank)]);
  out.gradients += ranks == 1 ? 0 : 4 * (number(layout.elements) - own);
  out.weights += 4 * own * number(ranks - 1);
  int64_t chunks = 0;
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    const HeldTensor& tensor = layout.tensors[i];
    if (!shards.owns(static_cast<int>(rank), i) || !is_trained(options, config, tensor)) continue;
    chunks +=
        norm_pieces(tensor) * squares_chunk_count(tensor.shape.elements() / norm_pieces(tensor));
  }
  out.norm += 8 * number(chunks) * number(shape.count() - 1);
}

// Rows to the next stage, gradients with the balance loss to the one before; between the ends those
// of the MTP layer.
double stage_bytes(const ModelConfig& config, const LearnerOptions& options,
                   const StagePlace& stage, const ExchangedRows& rows) {
  const bool mtp = options.pass.mtp && config.mtp_layer_count > 0;
  const double each = 4 * number(config.hidden_size) * rows.tokens;
  double bytes = 0;
  if (!stage.is_last()) bytes += each + (stage.is_first() && mtp ? each : 0);
  if (!stage.is_first())
    bytes += each + 8 * number(rows.passes) + (stage.is_last() && mtp ? each : 0);
  return bytes;
}

}  // namespace

ExchangedRows balanced_rows(const ModelConfig& config, const MeshShape& shape, int64_t passes,
                            int64_t rows, const Holding& holding) {
  ExchangedRows out{.passes = passes, .tokens = number(passes) * number(rows)};
  for (int64_t i = 0; i < config.layer_count(); ++i) {
    const LayerFacts& layer = config.layer(i);
    if (!layer.sparse || !holds_layer(holding, i)) continue;
    out.sent += number(passes) * number(rows) * number(layer.experts.per_token) *
                number(shape.expert - 1) / number(shape.expert);
  }
  out.received = out.sent;
  return out;
}

double gather_sent(const ModelConfig& config, const MeshShape& shape, const MeshPlace& place,
                   const std::vector<int64_t>& stage_layers) {
  const Holding stage = sampled_holding({place.pipeline, shape.pipeline}, stage_layers);
  int64_t all = 0, experts = 0;
  for (const HeldTensor& tensor : held_tensors(config, stage)) {
    all += tensor.shape.elements();
    if (is_of_experts(tensor.id.role)) experts += tensor.shape.elements();
  }
  return 4 * number(experts / shape.expert * (shape.expert - 1) + all * (shape.pipeline - 1));
}

double votes_sent(const MeshShape& shape) { return 16 * number(shape.count() - 1); }

StepTraffic step_traffic(const ModelConfig& config, const LearnerOptions& options,
                         const MeshShape& shape, const MeshPlace& place, const ExchangedRows& rows,
                         int64_t part_sums) {
  StepTraffic out;
  const Holding holding = holding_of(shape, place, options.stage_layers);
  const double others = number(shape.batch() - 1), experts = number(shape.expert - 1);
  out.losses =
      8 * number(part_sums) *
      (others * number(options.parts) / number(shape.batch()) + number(shape.pipeline - 1));
  out.counts =
      number(shape.count() - 1) * 8 * number(config.layer_count() * config.expert_count_max());
  // A layer that is computed again asks and is answered again.
  const double forwards = options.pass.recompute ? 2 : 1;
  for (int64_t i = 0; i < config.layer_count(); ++i) {
    const LayerFacts& layer = config.layer(i);
    if (layer.sparse && shape.expert > 1 && holds_layer(holding, i))
      out.routing +=
          forwards * number(rows.passes) * experts * 8 * number(layer.experts.count / shape.expert);
  }
  const double ways = shape.expert == 1 ? 0 : options.pass.recompute ? 1.5 : 2;
  out.rows = 4 * number(config.hidden_size) * ways * (rows.sent + rows.received);
  for (const BlockFacts& facts : blocks_of(shape, holding))
    add_block(config, options, shape, place, facts, out);
  out.stages = stage_bytes(config, options, {place.pipeline, shape.pipeline}, rows);
  return out;
}

}  // namespace dure
