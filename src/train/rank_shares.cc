// The learner's own sums, over tensors that are not allocated.
#include "train/rank_shares.h"

#include <algorithm>

namespace dure {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);

}  // namespace

int64_t SharedTensors::scratch_bytes(size_t rank, int64_t thread_count) const {
  int64_t floats = 0;
  for (const Shape& shape : muon[rank])
    floats = std::max(floats, muon_workspace_floats(shape, thread_count));
  return floats * kFloatBytes;
}

int64_t SharedTensors::buffer_bytes(size_t rank) const {
  if (ranks == 1) return 0;
  const int64_t summed = ranks * std::min(elements[rank], kRoundElements);
  int64_t gathered = 0;
  for (size_t r = 0; r < elements.size(); ++r)
    gathered += r == rank ? 0 : std::min(elements[r], kRoundElements);
  return kFloatBytes * std::max(summed, gathered);
}

SharedTensors share_tensors(const ModelConfig& config, const Holding& holding,
                            const LearnerOptions& options, int64_t ranks) {
  const std::vector<HeldTensor> tensors = held_tensors(config, holding);
  std::vector<int64_t> first{0}, costs;
  for (const HeldTensor& tensor : tensors) {
    const int64_t elements = tensor.shape.elements();
    const int64_t moments = std::ssize(moment_prefixes(options.optimiser, tensor.kind));
    first.push_back(first.back() + Parameters::padded(elements));
    costs.push_back(is_trained(options, config, tensor) ? moments * elements : 0);
  }
  const Shards shards = share_out(first, costs, static_cast<int>(ranks));
  SharedTensors out{.holding = holding,
                    .ranks = ranks,
                    .bytes = first.back() * kFloatBytes,
                    .elements = shards.elements};
  const auto count = static_cast<size_t>(ranks);
  out.chunks.resize(count);
  out.moment_bytes.resize(count);
  out.muon.resize(count);
  for (size_t r = 0; r < count; ++r) {
    for (size_t t = shards.first_tensor[r]; t < shards.first_tensor[r + 1]; ++t) {
      if (!is_trained(options, config, tensors[t])) continue;
      out.chunks[r] += squares_chunk_count(tensors[t].shape.elements());
      out.moment_bytes[r] += costs[t] * kFloatBytes;
      if (update_rule(options.optimiser, tensors[t].kind) == UpdateRule::kMuon)
        out.muon[r].push_back(tensors[t].shape);
    }
  }
  return out;
}

Holding holding_at(const ModelConfig& config, const MeshShape& shape, const MeshPlace& place) {
  const int64_t layers = config.layer_count();
  const bool first = place.pipeline == 0, last = place.pipeline + 1 == shape.pipeline;
  Holding out{.embedding = first, .head = last, .mtp = last};
  if (shape.pipeline > 1) {
    out.layer_begin = layers * place.pipeline / shape.pipeline;
    out.layer_end = layers * (place.pipeline + 1) / shape.pipeline;
  }
  out.expert_part = place.expert;
  out.expert_parts = shape.expert;
  return out;
}

}  // namespace dure
