// Another rank's side: an order, its rows, the products, the results.
#include <numeric>

#include "base/check.h"
#include "engine/expert_front.h"
#include "engine/expert_rows.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

using expert_service::ExpertRoom;
using expert_service::Order;

class Worker {
 public:
  Worker(Group& world, const ModelWeights& weights, int64_t tokens_max, double limit_s,
         Stream& stream)
      : weights_(weights),
        stream_(stream),
        // For the next order a rank waits as long as there is nothing to do.
        orders_(expert_service::channel_of(world, expert_service::kOrders, 0)),
        rows_(expert_service::channel_of(world, expert_service::kRows, limit_s)),
        ranks_(world.size()),
        row_count_max_(owned_rows_max(sparse_sizes(weights.config), tokens_max, ranks_)),
        experts_max_(sparse_sizes(weights.config).experts / ranks_),
        room_(weights.config, row_count_max_, experts_max_, stream.device()),
        buffer_(
            Buffer::of(DType::kF32, {row_count_max_, weights.config.hidden_size}, stream.device())),
        out_(row_count_max_ * weights.config.hidden_size, stream.device()),
        in_(row_count_max_ * weights.config.hidden_size, stream.device()) {}

  void run() {
    std::vector<int32_t> order(static_cast<size_t>(2 + experts_max_));
    for (;;) {
      orders_.receive(0, std::as_writable_bytes(std::span(order)), "an order for experts");
      if (static_cast<Order>(order[0]) == Order::kEnd) return;
      compute(order[1], std::span(order).subspan(2));
    }
  }

 private:
  void compute(int64_t layer, std::span<const int32_t> words) {
    const LayerFacts& facts = weights_.config.layer(layer);
    const auto experts = static_cast<size_t>(facts.experts.count / ranks_);
    counts_.assign(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(experts));
    const int64_t rows = std::reduce(counts_.begin(), counts_.end());
    DURE_CHECK(rows <= row_count_max_, "{} rows where {} were planned", rows, row_count_max_);
    const TensorView x = buffer_.view(DType::kF32, {rows, weights_.config.hidden_size});
    rows_.receive(0, std::as_writable_bytes(in_.of(x, stream_)), "rows for experts");
    in_.taken(x, stream_);
    room_.compute(layer_of(layer), facts, counts_, x, x, stream_);
    rows_.send(0, std::as_bytes(out_.of(x, stream_)), "results of experts");
  }
  const LayerWeights& layer_of(int64_t layer) const {
    return layer < weights_.config.layer_count() ? weights_.layers[static_cast<size_t>(layer)]
                                                 : weights_.mtp.layer;
  }

  const ModelWeights& weights_;
  Stream& stream_;
  Group orders_, rows_;
  int64_t ranks_, row_count_max_, experts_max_;
  ExpertRoom room_;
  Buffer buffer_;
  HostCopy<float> out_;
  HostLanding<float> in_;
  std::vector<int64_t> counts_;
};

}  // namespace

int64_t expert_worker_bytes(const ModelConfig& config, int64_t rows_max, int64_t ranks) {
  const int64_t rows = owned_rows_max(sparse_sizes(config), rows_max, ranks);
  return ExpertRoom::bytes(config, rows) + 4 * rows * config.hidden_size;
}

void serve_experts(Group& world, const ModelWeights& weights, double limit_s, Stream& stream) {
  const int64_t tokens_max = world.first_says(0, "tokens of a pass");
  Worker(world, weights, tokens_max, limit_s, stream).run();
}

}  // namespace dure
