// engine/expert_rows.h: room in which one rank computes rows of the experts that it holds; internal
// to expert_front.cc and expert_worker.cc.
#pragma once

#include "comm/group.h"
#include "model/experts.h"
#include "model/holding.h"

namespace dure::expert_service {

constexpr int kOrders = 20, kRows = 21;  // channels

enum class Order : int32_t { kCompute = 1, kEnd = 2 };

// A group of the same ranks with a channel of its own.
inline Group channel_of(Group& world, int channel, double limit_s) {
  return Group(*world.transport(), {world.members().begin(), world.members().end()}, channel,
               limit_s);
}

class ExpertRoom {
 public:
  // Throws kOutOfMemory.
  ExpertRoom(const ModelConfig& config, int64_t row_count_max, int64_t experts_max, Device device);
  static int64_t bytes(const ModelConfig& config, int64_t row_count_max);

  // y: [R, D] = of x: [R, D] rows by expert, counts[e] of each; may be x itself.
  void compute(const LayerWeights& weights, const LayerFacts& facts,
               std::span<const int64_t> counts, ConstTensorView x, TensorView y, Stream& stream);

 private:
  struct Views {
    TensorView gate, up, h;  // [R, I] of the widest layer
  };
  static Views lay_out(const ModelConfig& config, int64_t row_count_max, Arena& arena);

  Arena arena_;
  Views views_;
  SourcedRows rows_;
};

}  // namespace dure::expert_service
