// engine/expert_front.h: a model whose routed experts several ranks hold together: the first rank
// runs the engine, the others compute rows of their experts for it.
//
// Rank r of n holds experts [E r / n, E (r + 1) / n) of every sparse layer (model/holding.h); the
// first one all the rest too. Of each layer the first rank sends every other the rows of its
// experts, computes its own and the shared expert meanwhile, and takes the results: the same bits
// as alone, for a row's results do not depend on the others. Who has no rows hears nothing.
// On the wire (docs/ranks.md): an order of 4 x (2 + C) bytes, C the most experts of a layer that a
// rank holds: what to do, the layer, rows of each expert; then rows [R, D] f32 in order; back come
// results [R, D] f32. Not here: the products (model/experts.h), training's exchange
// (model/expert_ranks.h), the bytes beforehand (expert_traffic.h), what ends where a rank is lost
// (cli/).
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "comm/group.h"
#include "model/expert_exchange.h"
#include "model/weights.h"

namespace dure {

// What the first rank and `rank` of `ranks` hold.
Holding front_holding(int64_t ranks);
Holding worker_holding(int64_t rank, int64_t ranks);
// Throws kInvalidArgument where the experts of a layer are not so many equal parts, or there are
// none. `source` names the model.
void check_expert_parts(const ModelConfig& config, int64_t ranks, const std::string& source);

struct ExpertFrontOptions {
  int64_t rows_max = 1;  // T of any forward pass
  double limit_s = 60;   // without an answer, after which a rank counts as hung; 0: never
};

// Since the start.
struct ExpertStatistics {
  int64_t ranks = 1;
  int64_t layers = 0;               // layers that rows were sent for
  int64_t rows = 0, rows_away = 0;  // rows of experts, and of them those sent
  int64_t sent_bytes = 0, received_bytes = 0;
  double wait_s = 0;  // for others, with nothing left to do here
  // Since `before`.
  ExpertStatistics operator-(const ExpertStatistics& before) const;
};

// The first rank's side. One forward pass after another; passes of several threads take turns,
// layer by layer.
class ExpertFront final : public ExpertExchange {
 public:
  // Called with all ranks, whose others call serve_experts(). What a lost rank makes of it is told
  // once to `on_loss`, on the thread that found out.
  ExpertFront(Group& world, const ModelConfig& config, const ExpertFrontOptions& options,
              Device device, std::function<void(std::exception_ptr)> on_loss = {});
  ~ExpertFront() override;
  static int64_t bytes(const ModelConfig& config, const ExpertFrontOptions& options, int64_t ranks);

  // Throw kUnavailable, naming the rank, once one is lost: at once, for good.
  void send(const ExpertCall& call, ConstTensorView rows) override;
  void advance() override;
  void turn(const ExpertCall& call, TensorView results) override;
  void receive(const ExpertCall& call) override;

  // The others return. Once, when no pass runs; nothing where one was lost.
  void end();
  ExpertStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Another rank's side: computes until the first one ends it. Throws RankFailure where that one is
// lost. `weights`: of worker_holding().
void serve_experts(Group& world, const ModelWeights& weights, double limit_s, Stream& stream);
// What it takes beside the weights, for passes of at most `rows_max` rows.
int64_t expert_worker_bytes(const ModelConfig& config, int64_t rows_max, int64_t ranks);

}  // namespace dure
