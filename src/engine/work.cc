// A sum over the tensors by kind, and one over the layers' windows.
#include "engine/work.h"

#include <algorithm>
#include <cmath>

namespace dure {
namespace {

double number(int64_t value) { return static_cast<double>(value); }
int64_t bytes_of(const WeightView& field) { return field.data.bytes(); }
int64_t bytes_of(const ConstTensorView& field) { return field.bytes(); }

bool in_main_model(TensorId id, const ModelConfig& config) {
  return id.layer < config.layer_count() && id.role != TensorRole::kMtpFc &&
         id.role != TensorRole::kMtpEmbeddingNorm && id.role != TensorRole::kMtpHiddenNorm &&
         id.role != TensorRole::kMtpNorm;
}

// The share of a layer's experts that at least one of `rows` chooses.
double share_touched(const ExpertFacts& experts, int64_t rows) {
  const double share = number(experts.per_token) / number(experts.count);
  return 1 - std::pow(1 - share, number(rows));
}

Work tensor_work(const ImpliedTensor& tensor, int64_t bytes, const ModelConfig& config,
                 int64_t rows, int64_t head_rows) {
  const double elements = number(tensor.shape.elements());
  switch (tensor.kind) {
    case TensorKind::kEmbedding:
      return {.weight_bytes = number(rows) * number(bytes) / number(tensor.shape[0])};
    case TensorKind::kHead:
      return {.weight_bytes = head_rows > 0 ? number(bytes) : 0,
              .operations = 2 * elements * number(head_rows)};
    case TensorKind::kExperts: {
      const ExpertFacts& experts = config.layer(tensor.id.layer).experts;
      const double share = number(experts.per_token) / number(experts.count);
      return {.weight_bytes = number(bytes) * share_touched(experts, rows),
              .operations = 2 * elements * share * number(rows)};
    }
    case TensorKind::kMatrix:
    case TensorKind::kRouter:
      return {.weight_bytes = number(bytes), .operations = 2 * elements * number(rows)};
    default:
      return {.weight_bytes = number(bytes)};
  }
}

}  // namespace

double kv_bytes_read(const ModelConfig& config, const ForwardRows& rows) {
  double positions = 0;
  for (const LayerFacts& layer : config.layers) {
    const int64_t before = layer.window_tokens > 0
                               ? std::min(rows.first_position, layer.window_tokens - 1)
                               : rows.first_position;
    positions += number(before + rows.rows_each);
  }
  const int64_t row = row_bytes(rows.kv_dtype, config.kv_head_count * config.head_width);
  return 2 * positions * number(row) * number(rows.sequence_count);
}

void Work::add(const Work& other) {
  weight_bytes += other.weight_bytes;
  kv_bytes += other.kv_bytes;
  operations += other.operations;
}

Work forward_work(const ModelWeights& weights, const ForwardRows& rows) {
  const ModelConfig& config = weights.config;
  ModelOf<WeightView, ConstTensorView> fields = weights;
  const int64_t row_count = rows.sequence_count * rows.rows_each;
  Work out{.kv_bytes = kv_bytes_read(config, rows)};
  visit_tensors(config, fields, [&](const ImpliedTensor& tensor, auto& field) {
    if (!in_main_model(tensor.id, config)) return;
    out.add(tensor_work(tensor, bytes_of(field), config, row_count, rows.head_rows));
    if (!config.tied_embeddings || tensor.kind != TensorKind::kEmbedding) return;
    ImpliedTensor head = tensor;
    head.kind = TensorKind::kHead;
    out.add(tensor_work(head, bytes_of(field), config, row_count, rows.head_rows));
  });
  return out;
}

}  // namespace dure
