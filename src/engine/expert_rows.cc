// One source of rows; views of the widest layer cut to the layer at hand.
#include "engine/expert_rows.h"

namespace dure::expert_service {
ExpertRoom::ExpertRoom(const ModelConfig& config, int64_t row_count_max, int64_t experts_max,
                       Device device)
    : arena_(bytes(config, row_count_max), device),
      views_(lay_out(config, row_count_max, arena_)),
      rows_(1, experts_max, device) {}

ExpertRoom::Views ExpertRoom::lay_out(const ModelConfig& config, int64_t row_count_max,
                                      Arena& arena) {
  const Shape shape{row_count_max, sparse_sizes(config).expert_width};
  Views out;
  for (TensorView* view : {&out.gate, &out.up, &out.h}) *view = arena.take_f32(shape);
  return out;
}

int64_t ExpertRoom::bytes(const ModelConfig& config, int64_t row_count_max) {
  Arena plan;
  lay_out(config, row_count_max, plan);
  return plan.used_bytes();
}

void ExpertRoom::compute(const LayerWeights& weights, const LayerFacts& facts,
                         std::span<const int64_t> counts, ConstTensorView x, TensorView y,
                         Stream& stream) {
  rows_.set(1, std::ssize(counts), counts);
  const int64_t rows = rows_.rows(), width = facts.experts.width;
  const FfnActivations a{rows_of_pool(views_.gate, 0, rows, width),
                         rows_of_pool(views_.up, 0, rows, width),
                         rows_of_pool(views_.h, 0, rows, width)};
  experts_forward(weights, facts.activation, rows_, x, a, y, /*adapter=*/{}, stream);
}

}  // namespace dure::expert_service
