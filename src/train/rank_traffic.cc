// Each function is one line of docs/ranks.md.
#include "train/rank_traffic.h"

#include <algorithm>
#include <numeric>

#include "train/next_token_step.h"

namespace dure {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);
constexpr int64_t kVotes = 2;  // at the end of a step (run.cc)

int64_t rounds(std::span<const int64_t> elements) {
  return (*std::ranges::max_element(elements) + kRoundElements - 1) / kRoundElements;
}

int64_t sparse_layers(const ModelConfig& config, const Holding& holding) {
  int64_t count = 0;
  for (int64_t i = 0; i < config.layer_count(); ++i)
    count += holds_layer(holding, i) && config.layer(i).sparse ? 1 : 0;
  return count;
}

}  // namespace

Sent& Sent::operator+=(const Sent& other) {
  bytes += other.bytes;
  waits += other.waits;
  return *this;
}

Sent reduce_scatter_sent(std::span<const int64_t> elements, int64_t rank) {
  if (elements.size() == 1) return {};
  const int64_t all = std::reduce(elements.begin(), elements.end());
  return {kFloatBytes * (all - elements[static_cast<size_t>(rank)]), rounds(elements)};
}

Sent all_gather_sent(std::span<const int64_t> elements, int64_t rank) {
  const int64_t others = std::ssize(elements) - 1;
  if (others == 0) return {};
  return {others * kFloatBytes * elements[static_cast<size_t>(rank)], rounds(elements)};
}

Sent told_all(int64_t ranks, int64_t bytes) {
  if (ranks == 1) return {};
  return {(ranks - 1) * bytes, 1};
}

Sent StepTraffic::total() const {
  Sent out;
  for (const Sent& s : {losses, counts, gradients, norm, weights, end, experts, stages}) out += s;
  return out;
}

Sent experts_sent(const ModelConfig& config, int64_t layers, int64_t expert_ranks,
                  const StepFacts& step) {
  if (expert_ranks == 1) return {};
  const int64_t others = expert_ranks - 1;
  int64_t chosen = 0, experts = 0;
  for (const LayerFacts& layer : config.layers) {
    chosen = std::max(chosen, layer.experts.per_token);
    experts = std::max(experts, layer.experts.count);
  }
  const int64_t rows = step.rows * chosen * others / expert_ranks;
  const int64_t row_bytes = kFloatBytes * config.hidden_size;
  const int64_t counts = others * (experts / expert_ranks) * static_cast<int64_t>(sizeof(int64_t));
  // Out and back, forward and backward; counts before the forward.
  return {step.passes * layers * (4 * rows * row_bytes + counts), step.passes * layers * 5};
}

Sent stages_sent(const ModelConfig& config, const MeshShape& ranks, const MeshPlace& place,
                 const StepFacts& step) {
  if (ranks.pipeline == 1) return {};
  const bool first = place.pipeline == 0, last = place.pipeline + 1 == ranks.pipeline;
  int64_t messages = 2 - (first ? 1 : 0) - (last ? 1 : 0);
  // The embedding of next tokens, and its gradient.
  if (config.mtp_layer_count > 0 && (first || last)) ++messages;
  return {step.passes * messages * step.rows * kFloatBytes * config.hidden_size,
          step.passes * messages};
}

StepTraffic step_traffic(const ModelConfig& config, const StageTensors& tensors,
                         const MeshShape& ranks, const MeshPlace& place, const StepFacts& step) {
  const int64_t f64 = sizeof(double), i64 = sizeof(int64_t);
  const int64_t in_batch = place.data * ranks.expert + place.expert;
  const SharedTensors& rest = *tensors.rest;
  int64_t chunks = rest.chunks[static_cast<size_t>(in_batch)];
  StepTraffic out{
      .losses = told_all(ranks.batch(), f64 * kPartSumCount * step.parts / ranks.batch()),
      .counts = told_all(ranks.batch(), i64 * config.layer_count() * config.expert_count_max()),
      .gradients = reduce_scatter_sent(rest.elements, in_batch),
      .weights = all_gather_sent(rest.elements, in_batch),
      .end = told_all(ranks.count(), i64 * kVotes),
      .stages = stages_sent(config, ranks, place, step)};
  if (tensors.routed != nullptr) {
    out.gradients += reduce_scatter_sent(tensors.routed->elements, place.data);
    out.weights += all_gather_sent(tensors.routed->elements, place.data);
    chunks += tensors.routed->chunks[static_cast<size_t>(place.data)];
    out.experts = experts_sent(config, sparse_layers(config, rest.holding), ranks.expert, step);
  }
  out.norm = told_all(ranks.count(), f64 * chunks);
  return out;
}

}  // namespace dure
